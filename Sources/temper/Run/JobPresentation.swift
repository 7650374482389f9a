// A job in the words and the JSON of the command line.

import Communication
import Foundation
import Training

extension WireJobInfo {
  /// Whether nothing more will happen to it.
  var isOver: Bool { ["finished", "failed", "cancelled"].contains(state) }
  /// Whether it waits to be resumed.
  var isPaused: Bool { state == "paused" }
}

extension ProgressMoment {
  init(_ info: WireJobInfo) {
    let progress = info.progress
    self.init(job: info.name, state: info.state, reason: info.reason)
    epoch = Int(progress.epoch)
    epochs = Int(progress.epochs)
    stepsPerEpoch = Int(progress.stepsPerEpoch)
    stepInEpoch = max(0, Int(progress.step) - (epoch - 1) * stepsPerEpoch)
    phase = progress.phase
    loss = progress.loss
    accuracy = progress.accuracy
    imagesPerSecond = progress.imagesPerSecond
    learningRate = progress.learningRate
    workers = Int(info.workers)
  }
}

/// One evaluated epoch with its timing, as the worker measured it.
struct EpochRecord: Encodable {
  var epoch: Int
  var seconds: Double
  var imagesPerSecond: Double
  var metrics: EpochMetrics

  init?(_ result: WireEpochResult) {
    guard let metrics = try? JSONDecoder().decode(EpochMetrics.self, from: Data(result.json.utf8)) else { return nil }
    self.metrics = metrics
    epoch = Int(result.epoch)
    seconds = result.seconds
    imagesPerSecond = result.imagesPerSecond
  }
}

/// A phase of a job: consecutive epochs of one arithmetic.
struct PhaseRecord: Encodable {
  var phase: String
  var firstEpoch: Int
  var epochs: Int
  var seconds: Double
  var imagesPerSecond: Double

  /// Groups epochs into phases; images/s is the mean over the seconds trained.
  static func phases(of epochs: [EpochRecord]) -> [PhaseRecord] {
    var phases: [PhaseRecord] = []
    for record in epochs {
      let images = record.imagesPerSecond * record.seconds
      let name = record.metrics.phase.rawValue
      if let last = phases.last, last.phase == name {
        let total = last.imagesPerSecond * last.seconds + images
        phases[phases.count - 1].epochs += 1
        phases[phases.count - 1].seconds += record.seconds
        phases[phases.count - 1].imagesPerSecond = total / max(phases[phases.count - 1].seconds, 1e-9)
      } else {
        phases.append(
          PhaseRecord(
            phase: name, firstEpoch: record.epoch, epochs: 1, seconds: record.seconds,
            imagesPerSecond: record.imagesPerSecond))
      }
    }
    return phases
  }
}

/// What `jobs --json`, `watch --json` and `submit --watch --json` print.
struct JobPresentation: Encodable {
  var job: UInt64
  var name: String
  var state: String
  var reason: String
  var generation: UInt64
  var workers: UInt32
  var priority: Int32
  var step: UInt64
  var epoch: UInt32
  var epochs: UInt32
  var loss: Double
  var imagesPerSecond: Double
  var sha256: String
  var directory: String
  var phases: [PhaseRecord]
  var metrics: EpochMetrics?

  init(_ info: WireJobInfo) {
    job = info.job
    name = info.name
    state = info.state
    reason = info.reason
    generation = info.generation
    workers = info.workers
    priority = info.priority
    step = info.progress.step
    epoch = info.progress.epoch
    epochs = info.progress.epochs
    loss = info.progress.loss
    imagesPerSecond = info.progress.imagesPerSecond
    sha256 = info.sha256
    directory = info.directory
    let records = info.epochs.compactMap(EpochRecord.init)
    phases = PhaseRecord.phases(of: records)
    metrics = records.last?.metrics
  }

  /// The line that stays on the screen after an epoch.
  static func epochLine(_ result: WireEpochResult, job: String) -> String? {
    guard let record = EpochRecord(result) else { return nil }
    let metrics = record.metrics
    var line =
      "\(job)  epoch \(record.epoch)  \(metrics.phase.rawValue)  \(fixed(record.seconds, 1)) s"
      + "  \(fixed(record.imagesPerSecond, 0)) images/s  test accuracy float \(fixed(metrics.float.accuracy * 100, 2)) %"
    if let int8 = metrics.int8 { line += "  int8 \(fixed(int8.accuracy * 100, 2)) %" }
    return line
  }

  static func report(_ info: WireJobInfo, json: Bool) throws {
    if json { return try printJSON(JobPresentation(info)) }
    print("job \(info.job)  \(info.name)  \(info.state)\(info.reason.isEmpty ? "" : "  \(info.reason)")")
    if !info.sha256.isEmpty { print("sha256  \(info.sha256)") }
    print("files   \(info.directory)")
  }

  /// Makes a job that did not finish the command's failure.
  static func requireFinished(_ info: WireJobInfo) throws {
    guard info.state != "finished" else { return }
    throw Failure(.bug, "job \(info.job) (\(info.name)) \(info.state): \(info.reason)", hint: "temper logs \(info.job)")
  }
}
