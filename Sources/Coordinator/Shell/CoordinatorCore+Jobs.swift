// Jobs in the shell: restoring, submitting, what is kept beside the state machine.
import Communication
import Foundation
import JobSpec
import Logging
import RunStore

/// A job whose initial weights, if any, have been copied; posted to the server's thread.
struct Submission: Sendable {
  var spec: JobSpec
  var text: String
  var key: String
  /// Copied weights, empty for random ones.
  var weights: String
  /// Why they could not be copied.
  var problem: String?
  var peer: PeerIdentity
  var request: UInt64
}

extension CoordinatorCore {
  /// Takes over what an earlier coordinator left in the directory, before the server starts.
  func restore() throws {
    directory.removeIncoming()
    var snapshot = try store.load()
    var settings: [JobID: JobSettings] = [:]
    for record in snapshot.jobs {
      files.register(job: record.id, directory: directory.job(record))
      epochs[record.id] = try store.epochs(of: record.id)
      guard !record.state.isOver else { continue }
      CheckpointDesk.removeUnfinished(directory: directory.checkpoints(record))
      snapshot.checkpoints[record.id] = try reconcile(record, known: snapshot.checkpoints[record.id] ?? [])
      // The spec was resolved and checked when it was submitted.
      guard let spec = try? JobSpec.parse(record.spec, file: "\(record.id)") else { continue }
      specs[record.id] = spec
      settings[record.id] = JobSettings(spec)
      if !record.dataset.isEmpty {
        let path = spec.data.source == .store ? spec.data.store.directory : "\(directory.data)/\(record.dataset)"
        files.register(dataset: record.dataset, directory: path)
      }
    }
    carryOut(board.restore(snapshot, settings: settings, at: now))
  }

  /// What stands on disk, entered into the store.
  private func reconcile(_ record: JobRecord, known: [CheckpointRecord]) throws -> [CheckpointRecord] {
    let standing = CheckpointDesk.standing(record.id, directory: directory.checkpoints(record))
    try store.apply(JobBoard.reconcile(record.id, known: known, standing: standing))
    return standing
  }

  /// A client wants a job to be run.
  func submit(_ message: WireSubmitJob, from peer: PeerIdentity, request: UInt64) {
    let spec: JobSpec
    do { spec = try JobSpec.parse(message.spec, file: "submitted job") } catch {
      return refuse("\(error)", peer, request)
    }
    if let problem = gate.problem(of: spec, weights: message.initialWeights, from: peer) {
      return refuse(problem, peer, request)
    }
    var submission = Submission(
      spec: spec, text: message.spec, key: message.idempotencyKey, weights: "", peer: peer, request: request)
    guard !message.initialWeights.isEmpty else { return submit(submission) }
    // Copied now, in the background: what a job starts from must not change under it.
    let target = directory.incoming()
    submission.weights = target
    let source = message.initialWeights
    reading.async { [server, submission] in
      var submission = submission
      do {
        guard source.hasPrefix("/") else { throw CocoaError(.fileReadInvalidFileName) }
        try FileManager.default.copyItem(atPath: source, toPath: target)
      } catch {
        submission.problem =
          "\(source): error: the initial weights cannot be copied (\(error.localizedDescription))\n"
          + "  hint: give the absolute path of a file that the coordinator's machine can read"
      }
      server.post(submission)
    }
  }

  /// Enters a submission whose files are at hand.
  func submit(_ submission: Submission) {
    if let problem = submission.problem { return refuse(problem, submission.peer, submission.request) }
    let record = JobRecord(
      id: JobID(0), name: submission.spec.name, spec: submission.text,
      initialWeights: submission.weights.isEmpty ? "" : "initial.safetensors", idempotencyKey: submission.key,
      submittedUnixSeconds: Date().timeIntervalSince1970)
    let before = board.jobIDs.count
    let request = expectAnswer(for: submission.peer, submission.request)
    let effects = board.step(.submit(request, record, JobSettings(submission.spec)), at: now)
    if board.jobIDs.count > before, let id = board.jobIDs.last, let record = board.record(of: id) {
      specs[id] = submission.spec
      do {
        try CoordinatorDirectory.make(directory.checkpoints(record))
        if !submission.weights.isEmpty {
          try FileManager.default.moveItem(atPath: submission.weights, toPath: directory.initialWeights(record))
        }
      } catch {
        log(id, .error, "its directory cannot be made: \(error)")
      }
      files.register(job: id, directory: directory.job(record))
    } else if !submission.weights.isEmpty {
      try? FileManager.default.removeItem(atPath: submission.weights)
    }
    carryOut(effects)
  }

  private func refuse(_ problem: String, _ peer: PeerIdentity, _ request: UInt64) {
    var result = WireSubmitResult()
    result.error = problem
    reply(.submitResult(result), to: peer, request)
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
      joinWindow: .milliseconds(spec.cluster.joinWindowMilliseconds), hang: .seconds(spec.cluster.hangSeconds))
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
    case .peerLost(let message): JobID(message.job)
    case .stepProgress(let message): JobID(message.job)
    case .epochResult(let message): JobID(message.job)
    case .jobFinished(let message): JobID(message.job)
    case .jobFailed(let message): JobID(message.job)
    default: nil
    }
  }
}
