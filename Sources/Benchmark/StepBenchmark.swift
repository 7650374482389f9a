// The time of a whole training step of ResNet-18, by precision and by part: `temper bench step`.
//
// A step is what a real job's is, in the same code (Training/Loop/Trainer.swift): wait for the batch, load weights, forward,
// backward, reduction over the one member, update. The precisions take turns, round by round, so that a machine that slows
// down slows all of them.

import Training

/// Measures training steps.
public struct StepBenchmark: Sendable {
  /// What is measured.
  public struct Options: Sendable, Hashable {
    /// Height and width of an image in pixels.
    public var size = 64
    /// Samples of the global batch.
    public var batch = 64
    /// Virtual shards of the batch.
    public var virtualShards = 8
    /// Threads of the one member.
    public var threads = 1
    /// Measured steps per precision.
    public var repetitions = 15
    /// Steps per precision before that.
    public var warmUpSteps = 2
    /// In which order the precisions take turns.
    public var precisions = Precision.allCases

    /// Makes the defaults.
    public init() {}
  }

  /// Arithmetic of a step, named as in jobs and reports.
  public enum Precision: String, Codable, Sendable, Hashable, CaseIterable {
    case fp32, fp16, qat
  }

  private let options: Options

  /// Prepares a measurement.
  public init(_ options: Options) { self.options = options }

  /// Measures.
  ///
  /// - Parameter progress: called after every round with the rounds done, warm-up included, and their number.
  /// - Throws: `TrainingError` or `GraphError` when images, batch and shards do not fit the model.
  public func run(progress: (_ done: Int, _ rounds: Int) -> Void = { _, _ in }) throws -> Result {
    let jobs = try options.precisions.map {
      try BenchmarkJob(
        precision: $0, size: options.size, batch: options.batch, virtualShards: options.virtualShards,
        threads: options.threads)
    }
    var milliseconds = [[Double]](repeating: [], count: jobs.count)
    let rounds = options.warmUpSteps + options.repetitions
    for round in 0..<rounds {
      if round == options.warmUpSteps { for job in jobs { job.profile.reset() } }
      for (index, job) in jobs.enumerated() {
        let start = ContinuousClock.now
        _ = try job.trainer.step(job.reducer)
        let elapsed = start.duration(to: .now)
        if round >= options.warmUpSteps { milliseconds[index].append(elapsed.milliseconds) }
      }
      progress(round + 1, rounds)
    }
    return Result(
      options,
      phases: zip(zip(options.precisions, jobs), milliseconds).map { Result.Phase($0.0, $0.1, milliseconds: $1) })
  }
}

extension Duration {
  /// The duration in milliseconds.
  var milliseconds: Double {
    Double(components.seconds) * 1e3 + Double(components.attoseconds) * 1e-15
  }
}
