// What `temper run` ends with: final metrics, the exported model, and where everything is.

import Communication
import Export
import Foundation
import JobSpec
import Training

struct RunResults: Encodable {
  struct Paths: Encodable {
    var directory: String
    var checkpoint: String
    var model: String
    var companion: String
    var baselineCheckpoint: String?
    var log: String
  }

  struct Metrics: Encodable {
    var float: ClassificationMetrics?
    var int8: ClassificationMetrics?
  }

  var job: String
  var state: String
  var phases: [PhaseRecord]
  var baselinePhases: [PhaseRecord]?
  var metrics: Metrics
  var comparison: ModelComparison
  var sha256: String
  var seconds: Double
  var workers: [WorkerRecord]
  var paths: Paths

  struct WorkerRecord: Encodable {
    var name: String
    /// Memory of the process, as it last told.
    var residentBytes: UInt64
  }

  /// Evaluates and exports what the jobs left; `jobs` is the job, or its float baseline and the job.
  static func make(
    jobs: [WireJobInfo], spec: JobSpec, directory: URL, threads: Int, seconds: Double, workers: [WorkerRecord]
  ) throws -> RunResults {
    guard let last = jobs.last else { preconditionFailure("a run without a job") }
    let trained = try TrainedModel(at: last.directory)
    let baseline = jobs.count > 1 ? try TrainedModel(at: jobs[0].directory) : nil
    let evaluated = try EvaluatedModels(trained, baseline: baseline, threads: threads)
    let target = directory.appendingPathComponent(trained.state.isQuantized ? "model.int8.onnx" : "model.onnx").path
    let files = try readable {
      try ExportedFiles.write(
        trained.state.isQuantized
          ? try trained.state.quantizedModel(plan: trained.plan) : try trained.state.floatModel(plan: trained.plan),
        to: target)
    }
    return RunResults(
      job: spec.name, state: last.state, phases: phases(of: last),
      baselinePhases: jobs.count > 1 ? phases(of: jobs[0]) : nil,
      metrics: Metrics(float: evaluated.metrics("float"), int8: evaluated.metrics(EvaluatedModels.qat)),
      comparison: evaluated.comparison, sha256: last.sha256, seconds: seconds, workers: workers,
      paths: Paths(
        directory: directory.path, checkpoint: trained.directory, model: files.model, companion: files.companion,
        baselineCheckpoint: baseline?.directory, log: directory.appendingPathComponent("processes.log").path))
  }

  private static func phases(of info: WireJobInfo) -> [PhaseRecord] {
    PhaseRecord.phases(of: info.epochs.compactMap(EpochRecord.init))
  }

  /// The report for a person.
  func printReport() {
    print("")
    print(ComparisonTable.lines(comparison).joined(separator: "\n"))
    print("")
    for phase in phases {
      print(
        "\(phase.phase)  \(phase.epochs) epoch\(phase.epochs == 1 ? "" : "s") from \(phase.firstEpoch)"
          + "  \(spokenDuration(phase.seconds))  \(fixed(phase.imagesPerSecond, 0)) images/s")
    }
    for worker in workers { print("\(worker.name)  resident memory \(spokenBytes(worker.residentBytes))") }
    print("total  \(spokenDuration(seconds))")
    print("")
    print("sha256      \(sha256)")
    print("checkpoint  \(paths.checkpoint)")
    print("model       \(paths.model)")
    print("deployment  \(paths.companion)")
  }
}
