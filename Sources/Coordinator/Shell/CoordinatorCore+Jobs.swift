// Jobs in the shell: restoring, what is kept beside the state machine.
import Communication
import Foundation
import JobSpec
import Logging
import RunStore

extension CoordinatorCore {
  /// Takes over what an earlier coordinator left in the directory, before the server starts.
  func restore() throws {
    directory.removeIncoming()
    var snapshot = try store.load()
    var settings: [JobID: JobSettings] = [:]
    for record in snapshot.jobs {
      files.register(job: record.id, directory: directory.job(record))
      epochs[record.id] = try store.epochs(of: record.id)
      CheckpointDesk.removeUnfinished(directory: directory.checkpoints(record))
      snapshot.checkpoints[record.id] = try reconcile(record, known: snapshot.checkpoints[record.id] ?? [])
      guard !record.state.isOver else { continue }
      // The spec was resolved and checked when it was submitted.
      guard let spec = try? JobSpec.parse(record.spec, file: "\(record.id)") else { continue }
      specs[record.id] = spec
      settings[record.id] = JobSettings(spec)
      register(record, spec)
    }
    carryOut(board.restore(snapshot, settings: settings, at: now))
  }

  /// What stands on disk, entered into the store.
  private func reconcile(_ record: JobRecord, known: [CheckpointRecord]) throws -> [CheckpointRecord] {
    let standing = CheckpointDesk.standing(record.id, directory: directory.checkpoints(record))
    try store.apply(JobBoard.reconcile(record.id, known: known, standing: standing))
    return standing
  }

  /// Lets workers read a job's data set, once it is there.
  func register(_ record: JobRecord, _ spec: JobSpec) {
    guard !record.dataset.isEmpty else { return }
    let path = spec.data.source == .store ? spec.data.store.directory : "\(directory.data)/\(record.dataset)"
    files.register(dataset: record.dataset, directory: path)
  }

  /// Keeps what the state machine has no use for, before the event is handled.
  func note(_ body: WireEnvelope.OneOf_Body) {
    switch body {
    case .stepProgress(let message):
      let id = JobID(message.job)
      guard let record = board.record(of: id), record.generation == message.generation, !record.state.isOver else {
        return
      }
      progress[id] = message
      JobJournal(directory: directory.job(record)).metrics(ProgressLine(message))
    case .epochResult(let message):
      let id = JobID(message.job)
      guard let record = board.record(of: id), record.generation == message.generation else { return }
      JobJournal(directory: directory.job(record)).metrics(EpochLine(message))
    default: break
    }
  }

  /// What follows from a change that the store has committed.
  func committed(_ change: StoreChange) {
    guard case .epoch(let epoch) = change else { return }
    epochs[epoch.job, default: []].removeAll { $0.epoch == epoch.epoch }
    epochs[epoch.job, default: []].append(epoch)
    epochs[epoch.job]?.sort { $0.epoch < $1.epoch }
  }

  func log(_ job: JobID?, _ severity: Effect.Severity, _ text: String) {
    let level: Logger.Level =
      switch severity {
      case .debug: .debug
      case .info: .info
      case .warning: .warning
      case .error: .error
      }
    logger.log(level: level, "\(job.map { "\($0): " } ?? "")\(JobJournal.oneLine(text))")
    guard let job, severity != .debug, let record = board.record(of: job) else { return }
    JobJournal(directory: directory.job(record)).log(["\(Timestamp.now()) \(level) \(text)"])
  }
}

/// The wall clock as log files show it.
public enum Timestamp {
  /// The moment in UTC with milliseconds, ISO 8601.
  public static func now() -> String {
    Date().formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true).timeZone(separator: .omitted))
  }
}

extension JobSettings {
  init(_ spec: JobSpec) {
    self.init(
      shardCount: spec.training.virtualShards, minimumWorkers: spec.cluster.minimumWorkers,
      maximumWorkers: spec.cluster.maximumWorkers,
      joinWindow: .milliseconds(spec.cluster.joinWindowMilliseconds), hang: .seconds(spec.cluster.hangSeconds),
      priority: spec.cluster.priority)
  }
}

extension ProgressLine {
  init(_ message: WireStepProgress) {
    self.init(
      generation: message.generation, step: message.step, epoch: message.epoch, phase: message.phase,
      loss: message.loss, accuracy: message.accuracy, learningRate: message.learningRate,
      lossScale: message.lossScale, imagesPerSecond: message.imagesPerSecond, workers: message.workers)
  }
}

extension EpochLine {
  init(_ message: WireEpochResult) {
    self.init(
      generation: message.generation, step: message.step, epoch: message.epoch, seconds: message.seconds,
      imagesPerSecond: message.imagesPerSecond,
      metrics: try? JSONDecoder().decode(JSONValue.self, from: Data(message.json.utf8)))
  }
}

extension WireEnvelope.OneOf_Body {
  /// The job that a worker's message speaks of.
  var job: JobID? {
    switch self {
    case .memberPosition(let message): JobID(message.job)
    case .memberReady(let message): JobID(message.job)
    case .memberStopped(let message): JobID(message.job)
    case .peerLost(let message): JobID(message.job)
    case .stepProgress(let message): JobID(message.job)
    case .epochResult(let message): JobID(message.job)
    case .jobFinished(let message): JobID(message.job)
    case .jobFailed(let message): JobID(message.job)
    default: nil
    }
  }
}
