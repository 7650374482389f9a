// The command line's view of a coordinator: one method per question, errors in the command line's words.

import Communication
import Foundation
import JobSpec
import Synchronization

final class CoordinatorConnection {
  private let client: ControlClient
  private let watched: WatchedJob
  private let timeout: Duration

  convenience init(_ options: CoordinatorOptions) throws {
    try self.init(endpoint: options.endpoint, security: options.security(), timeout: .seconds(options.timeout))
  }

  init(endpoint: String, security: ClientSecurity? = nil, timeout: Duration) throws {
    self.timeout = timeout
    let watched = WatchedJob()
    self.watched = watched
    client = try translated {
      try ControlClient(.init(endpoint: endpoint, security: security, unreachableLimit: timeout)) { event, client in
        watched.handle(event, client)
      }
    }
  }

  deinit { client.close() }

  /// - Parameter checkpoint: absolute path of a checkpoint that the job goes on from, empty for none.
  func submit(_ spec: JobSpec, key: String, checkpoint: String = "") throws -> WireSubmitResult {
    var message = WireSubmitJob()
    message.checkpoint = checkpoint
    message.spec = spec.resolvedYAML()
    message.idempotencyKey = key
    if case .file(let path) = spec.model.initialize {
      guard FileManager.default.isReadableFile(atPath: path) else {
        throw Failure(
          .noInput, "model.initialize: cannot read \(path)",
          hint: "give a safetensors file; a relative path starts at the job file's folder")
      }
      message.initialWeights = path
    }
    guard case .submitResult(let result) = try ask(.submitJob(message)) else { throw unexpected("SubmitJob") }
    guard result.error.isEmpty else { throw Failure(.configuration, result.error) }
    return result
  }

  func jobs() throws -> [WireJobInfo] {
    guard case .jobList(let list) = try ask(.listJobs(WireListJobs())) else { throw unexpected("ListJobs") }
    return list.jobs
  }

  func workers() throws -> [WireWorkerInfo] {
    guard case .workerList(let list) = try ask(.listWorkers(WireListWorkers())) else {
      throw unexpected("ListWorkers")
    }
    return list.workers
  }

  /// The job with this number, or the newest with this name.
  func find(_ text: String) throws -> WireJobInfo {
    let jobs = try jobs()
    if let number = UInt64(text), let job = jobs.first(where: { $0.job == number }) { return job }
    if let job = jobs.last(where: { $0.name == text }) { return job }
    let known = jobs.suffix(5).map { "\($0.job) (\($0.name))" }.joined(separator: ", ")
    throw Failure(
      .noInput, "the coordinator has no job \(text)",
      hint: known.isEmpty ? "it has no jobs yet: temper submit JOB" : "the newest are \(known)")
  }

  func logs(job: UInt64, from: UInt64) throws -> WireLogLines {
    var message = WireFetchLogs()
    message.job = job
    message.from = from
    guard case .logLines(let lines) = try ask(.fetchLogs(message)) else { throw unexpected("FetchLogs") }
    return lines
  }

  func control(job: UInt64, _ verb: WireJobVerb) throws -> WireControlResult {
    var message = WireControlJob()
    message.job = job
    message.verb = verb
    guard case .controlResult(let result) = try ask(.controlJob(message)) else { throw unexpected("ControlJob") }
    return result
  }

  /// Has the workers of a name or number leave; returns the names of those that will.
  func drain(worker: String) throws -> [String] {
    var message = WireDrainWorkers()
    message.name = worker
    guard case .drainResult(let result) = try ask(.drainWorkers(message)) else { throw unexpected("DrainWorkers") }
    return result.workers
  }

  func checkpoints(job: UInt64) throws -> [WireCheckpointInfo] {
    var message = WireListCheckpoints()
    message.job = job
    guard case .checkpointList(let list) = try ask(.listCheckpoints(message)) else {
      throw unexpected("ListCheckpoints")
    }
    return list.checkpoints
  }

  /// Follows a job until it is over.
  ///
  /// - Parameters:
  ///   - isEnough: whether to end here; by default when the job is over.
  ///   - onTick: called about five times a second; what it throws ends the following.
  func follow(
    job: UInt64, display: LiveDisplay, until isEnough: (WireJobInfo) -> Bool = \.isOver, onTick: () throws -> Void = {}
  ) throws -> WireJobInfo {
    watched.start(job: job, client: client)
    defer { display.finish() }
    var epochsShown = 0
    var outageSince: Date?
    while true {
      try onTick()
      if let error = watched.incompatible {
        throw Failure(ExitStatus(rawValue: error.exitCode) ?? .configuration, "\(error)")
      }
      guard let info = watched.latest else {
        if client.isConnected { outageSince = nil } else { outageSince = outageSince ?? Date() }
        if let since = outageSince, Date().timeIntervalSince(since) > 60 {
          throw Failure(.unavailable, "the coordinator has not answered for 60 s", hint: "the job goes on without it")
        }
        Thread.sleep(forTimeInterval: 0.1)
        continue
      }
      for epoch in info.epochs.dropFirst(epochsShown) {
        if let line = JobPresentation.epochLine(epoch, job: info.name) { display.note(line) }
      }
      epochsShown = info.epochs.count
      display.show(ProgressMoment(info))
      if isEnough(info) { return info }
      Thread.sleep(forTimeInterval: 0.2)
    }
  }

  private func ask(_ body: WireEnvelope.OneOf_Body) throws -> WireEnvelope.OneOf_Body? {
    var envelope = WireEnvelope()
    envelope.body = body
    return try translated { try client.request(envelope, timeout: timeout).body }
  }

  private func unexpected(_ request: String) -> Failure {
    Failure(.bug, "the coordinator answered \(request) with another message", hint: "use programs of one version")
  }
}

/// The newest state of the job being followed; written by the client's thread.
private final class WatchedJob: Sendable {
  private struct State {
    var job: UInt64 = 0
    var info: WireJobInfo?
    var incompatible: CommunicationError?
  }

  private let state = Mutex(State())

  var latest: WireJobInfo? { state.withLock(\.info) }
  var incompatible: CommunicationError? { state.withLock(\.incompatible) }

  func start(job: UInt64, client: ControlClient) {
    state.withLock {
      $0.job = job
      $0.info = nil
    }
    if client.isConnected { client.send(Self.request(job)) }
  }

  func handle(_ event: ControlClient.Event, _ client: ControlClient) {
    switch event {
    case .connected:
      // A coordinator that restarted knows no watchers.
      let job = state.withLock(\.job)
      if job != 0 { client.send(Self.request(job)) }
    case .received(let envelope):
      guard case .watchEvent(let event) = envelope.body else { return }
      state.withLock { if $0.job == event.info.job { $0.info = event.info } }
    case .incompatible(let error):
      state.withLock { $0.incompatible = error }
    case .disconnected, .unreachable, .tick:
      break
    }
  }

  private static func request(_ job: UInt64) -> WireEnvelope {
    var envelope = WireEnvelope()
    envelope.watch.job = job
    return envelope
  }
}

/// Runs a call of Communication and gives its errors the command line's shape.
func translated<Result>(_ body: () throws -> Result) throws -> Result {
  do {
    return try body()
  } catch let error as CommunicationError {
    throw Failure(
      ExitStatus(rawValue: error.exitCode) ?? .unavailable, error.description)
  }
}
