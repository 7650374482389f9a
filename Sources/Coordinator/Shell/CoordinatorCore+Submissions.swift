// What clients ask for in the shell: new jobs, forks, and verbs for jobs that are there. Files are copied before a job is entered.
import Checkpoint
import Communication
import Foundation
import JobSpec
import RunStore

/// A job whose initial weights, if any, have been copied; posted to the server's thread.
struct Submission: Sendable {
  var spec: JobSpec
  var text: String
  var key: String
  /// Copied weights, empty for random ones.
  var weights: String
  /// A copied and verified checkpoint to go on from, nil for none.
  var checkpoint: (path: String, record: CheckpointRecord)?
  /// Why they could not be copied.
  var problem: String?
  var peer: PeerIdentity
  var request: UInt64
}

extension CoordinatorCore {
  /// A client asks a job to do something.
  func control(_ message: WireControlJob, from peer: PeerIdentity, request: UInt64) {
    let id = JobID(message.job)
    let verb: JobVerb
    switch message.verb {
    case .pause: verb = .pause
    case .resume: verb = .resume
    case .cancel: verb = .cancel
    case .kill: verb = .kill
    case .retry: return retry(id, from: peer, request: request)
    case .unspecified, .UNRECOGNIZED:
      var result = WireControlResult()
      result.reason = "the coordinator does not know what to do with \(id); use programs of one version"
      return reply(.controlResult(result), to: peer, request)
    }
    step(.control(expectAnswer(for: peer, request), id, verb))
  }

  /// The spec of a job that is over is not kept in memory.
  private func retry(_ id: JobID, from peer: PeerIdentity, request: UInt64) {
    if let record = board.record(of: id), record.state.isOver, let spec = try? JobSpec.parse(record.spec, file: "\(id)")
    {
      specs[id] = spec
      register(record, spec)
    }
    step(.retry(expectAnswer(for: peer, request), id, specs[id].map(JobSettings.init)))
  }

  /// A client wants a job to be run.
  func submit(_ message: WireSubmitJob, from peer: PeerIdentity, request: UInt64) {
    let spec: JobSpec
    do { spec = try JobSpec.parse(message.spec, file: "submitted job") } catch {
      return refuse("\(error)", peer, request)
    }
    if let problem = gate.problem(
      of: spec, weights: message.initialWeights, checkpoint: message.checkpoint, from: peer)
    {
      return refuse(problem, peer, request)
    }
    var submission = Submission(
      spec: spec, text: message.spec, key: message.idempotencyKey, weights: "", peer: peer, request: request)
    guard !message.initialWeights.isEmpty || !message.checkpoint.isEmpty else { return submit(submission) }
    // Copied now, in the background: what a job starts from must not change under it.
    let target = directory.incoming()
    if message.checkpoint.isEmpty { submission.weights = target }
    let source = message.checkpoint.isEmpty ? message.initialWeights : message.checkpoint
    let isFork = !message.checkpoint.isEmpty
    reading.async { [server, submission] in
      var submission = submission
      do {
        guard source.hasPrefix("/") else { throw CocoaError(.fileReadInvalidFileName) }
        try FileManager.default.copyItem(atPath: source, toPath: target)
        if isFork {
          let manifest = try CheckpointReader.verify(target)
          // As durable as a checkpoint that a worker sends, before a job relies on it.
          sync()
          let path = CheckpointStore(directory: target).path(step: manifest.step)
          submission.checkpoint = (target, CheckpointRecord(manifest, job: JobID(0), path: path))
        }
      } catch {
        try? FileManager.default.removeItem(atPath: target)
        let reason = (error as? CheckpointError).map { "\($0)" } ?? error.localizedDescription
        submission.problem =
          "\(source): error: the \(isFork ? "checkpoint" : "initial weights") cannot be copied (\(reason))\n"
          + "  hint: give the absolute path of a \(isFork ? "whole checkpoint" : "file") that the coordinator's machine can read"
      }
      server.post(submission)
    }
  }

  /// Enters a submission whose files are at hand.
  func submit(_ submission: Submission) {
    if let problem = submission.problem { return refuse(problem, submission.peer, submission.request) }
    var record = JobRecord(
      id: board.nextJob, name: submission.spec.name, spec: submission.text,
      initialWeights: submission.weights.isEmpty ? "" : "initial.safetensors", idempotencyKey: submission.key,
      submittedUnixSeconds: Date().timeIntervalSince1970)
    let isNew = !board.knows(key: submission.key)
    if isNew {
      do { try makeDirectory(of: record, submission) } catch {
        return refuse("the job's directory cannot be made: \(error)", submission.peer, submission.request)
      }
    }
    removeCopies(submission)
    let request = expectAnswer(for: submission.peer, submission.request)
    let settings = JobSettings(submission.spec)
    if isNew {
      specs[record.id] = submission.spec
      files.register(job: record.id, directory: directory.job(record))
    }
    record.id = JobID(0)
    step(.submit(request, record, settings, checkpoint: submission.checkpoint?.record))
  }

  /// Before the decision is written down, so that a job never lacks what it starts from; a coordinator that dies in between
  /// leaves a directory without a job, which the next job of its number replaces.
  private func makeDirectory(of record: JobRecord, _ submission: Submission) throws {
    try? FileManager.default.removeItem(atPath: directory.job(record))
    try CoordinatorDirectory.make(directory.checkpoints(record))
    if !submission.weights.isEmpty {
      try FileManager.default.moveItem(atPath: submission.weights, toPath: directory.initialWeights(record))
    }
    if let checkpoint = submission.checkpoint {
      try FileManager.default.moveItem(
        atPath: checkpoint.path, toPath: "\(directory.checkpoints(record))/\(checkpoint.record.name)")
    }
  }

  private func removeCopies(_ submission: Submission) {
    for path in [submission.weights, submission.checkpoint?.path ?? ""] where !path.isEmpty {
      try? FileManager.default.removeItem(atPath: path)
    }
  }

  private func refuse(_ problem: String, _ peer: PeerIdentity, _ request: UInt64) {
    var result = WireSubmitResult()
    result.error = problem
    reply(.submitResult(result), to: peer, request)
  }
}
