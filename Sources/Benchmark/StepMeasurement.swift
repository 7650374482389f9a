// The steps of one precision as one member measured them.

import JobSpec
import Training

/// Times and memory of one precision's steps.
struct StepMeasurement: Codable {
  /// Times of the measured steps.
  let milliseconds: [Double]
  /// Share of each part in the time of all measured steps, by `StepPart`.
  let shares: [String: Double]
  /// Multiplications and additions of a global step.
  let operations: Double
  /// Bytes as `StepBenchmark.Result.Phase` has them.
  let activationBytes: Int
  let savedActivationBytes: Int
  let skippedSteps: Int

  /// Makes steps of every job in turn, round by round.
  static func make(_ jobs: [BenchmarkJob], _ options: StepBenchmark.Options) throws -> [StepMeasurement] {
    var milliseconds = [[Double]](repeating: [], count: jobs.count)
    for round in 0..<options.warmUpSteps + options.repetitions {
      if round == options.warmUpSteps { for job in jobs { job.profile.reset() } }
      for (index, job) in jobs.enumerated() {
        let start = ContinuousClock.now
        _ = try job.trainer.step(job.reducer)
        let elapsed = start.duration(to: .now)
        if round >= options.warmUpSteps { milliseconds[index].append(elapsed.milliseconds) }
      }
    }
    return zip(jobs, milliseconds).map { StepMeasurement($0, milliseconds: $1) }
  }

  private init(_ job: BenchmarkJob, milliseconds: [Double]) {
    self.milliseconds = milliseconds
    let times = job.profile.times
    let total = Double(times.values.reduce(0, +))
    shares = Dictionary(uniqueKeysWithValues: StepPart.allCases.map { ($0.rawValue, Double(times[$0] ?? 0) / total) })
    operations = job.operationsPerStep
    let bytes = job.trainer.activationByteCounts
    activationBytes = bytes.peak
    savedActivationBytes = bytes.saved
    skippedSteps = job.state.skippedSteps
  }
}
