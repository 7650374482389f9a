// The thin shell around JobBoard, on the control server's thread: messages become events, effects become commits, messages
// and background work. No decision is made here.
import Communication
import Foundation
import JobSpec
import Logging
import RunStore

/// Everything that the control server's thread owns.
final class CoordinatorCore {
  let directory: CoordinatorDirectory
  let store: RunStore
  let server: ControlServer
  let files = FileService()
  let gate: Doorkeeper
  private let keyring = MeshKeyring()
  let logger: Logger
  private let end: @Sendable (CoordinatorError?) -> Void
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  private(set) var preparer: DatasetPreparer
  let desk: CheckpointDesk
  let reading = DispatchQueue(label: "files", qos: .userInitiated, attributes: .concurrent)

  var board = JobBoard(programVersion: CoordinatorConfiguration.programVersion)
  var specs: [JobID: JobSpec] = [:]
  var progress: [JobID: WireStepProgress] = [:]
  var epochs: [JobID: [EpochRecord]] = [:]
  var watchers: [PeerIdentity: Watcher] = [:]
  var changed: Set<JobID> = []
  var gaps = LogGaps()
  private var hasFailed = false
  private var service = ServiceWatch()

  private var connections: [PeerIdentity: ConnectionID] = [:]
  private var peers: [ConnectionID: PeerIdentity] = [:]
  private var lastConnection: UInt64 = 0
  private var requests: [RequestID: (peer: PeerIdentity, number: UInt64)] = [:]
  private var lastRequest: UInt64 = 0

  struct Watcher {
    var job: JobID
    var request: UInt64
  }

  init(
    directory: CoordinatorDirectory, store: RunStore, server: ControlServer, gate: Doorkeeper, log: Logger,
    end: @escaping @Sendable (CoordinatorError?) -> Void
  ) {
    self.directory = directory
    self.store = store
    self.server = server
    self.gate = gate
    self.end = end
    logger = log
    start = clock.now
    preparer = DatasetPreparer(directory: directory.data) { [server] in server.post($0) }
    desk = CheckpointDesk(
      reply: { [server] body, peer, request in server.send(.answering(request, body), to: peer) },
      report: { [server] in server.post($0) })
  }

  var now: Instant { Instant(start.duration(to: clock.now)) }

  func handle(_ event: ControlServer.Event) {
    guard !hasFailed else { return }
    switch event {
    case .introduced(let peer, let principal):
      gate.introduce(peer, principal)
      logger.debug("connection \(peer) is \(principal)")
    case .received(let peer, let envelope): received(envelope, from: peer)
    case .disconnected(let peer): disconnected(peer)
    case .tick:
      dismissRevoked()
      step(.tick)
      tellWatchers()
      service.tick(at: now, status: "\(specs.count) jobs, \(peers.count) connections")
    case .posted(let value): posted(value)
    }
  }

  private func received(_ envelope: WireEnvelope, from peer: PeerIdentity) {
    guard let body = envelope.body else { return }
    if let refusal = gate.refusal(of: body, from: peer) {
      logger.warning("refused: \(refusal.reason)")
      return reply(.refused(refusal), to: peer, envelope.request)
    }
    if case .workerHello(let message) = body { keyring.learn(message) }
    if case .enroll(let message) = body { return enroll(message, from: peer, envelope.request) }
    if let event = Event(body, from: connection(of: peer)) {
      note(body)
      let (effects, refusal) = board.step(event, of: body.job, at: now)
      carryOut(effects)
      if envelope.request != 0 { acknowledge(refusal, peer, envelope.request) }
    } else {
      serve(body, from: peer, request: envelope.request)
    }
  }

  /// Answers a worker that wants to know that its message arrived.
  private func acknowledge(_ refused: String?, _ peer: PeerIdentity, _ request: UInt64) {
    guard let refused else { return reply(.acknowledged(WireAcknowledged()), to: peer, request) }
    var refusal = WireRefused()
    refusal.reason = refused
    refusal.remedy = "tell it again in the next generation"
    refusal.exitCode = 75
    reply(.refused(refusal), to: peer, request)
  }

  private func disconnected(_ peer: PeerIdentity) {
    watchers[peer] = nil
    gate.forget(peer)
    desk.forget(peer)
    requests = requests.filter { $0.value.peer != peer }
    guard let connection = connections.removeValue(forKey: peer) else { return }
    peers[connection] = nil
    step(.disconnected(connection))
  }

  private func posted(_ value: any Sendable) {
    switch value {
    case let report as DatasetPreparer.Report:
      switch report {
      case .progress(let job, let text): step(.datasetProgress(job, text))
      case .ready(let job, let name, let path):
        files.register(dataset: name, directory: path)
        step(.datasetReady(job, name))
      case .failed(let job, let message): step(.datasetFailed(job, message))
      }
    case let report as CheckpointDesk.Report:
      switch report {
      case .committed(let record, let pruned, let path, let peer, let request):
        step(.checkpointStored(record, pruned: pruned))
        var result = WireCheckpointResult()
        result.job = record.job.rawValue
        result.step = record.step
        result.accepted = true
        result.path = path
        if !hasFailed { reply(.checkpointResult(result), to: peer, request) }
      case .refused(let job, let step, let reason):
        log(job, .warning, "the checkpoint of step \(step) is not stored, training goes on: \(reason)")
      case .verified(let job, let newest, let damaged):
        step(.checkpointsVerified(job, newest: newest, damaged: damaged))
      }
    case let submission as Submission: submit(submission)
    default: logger.error("a background thread posted \(type(of: value)), which nobody expects")
    }
  }

  /// Lets the state machine decide, and carries out what it says.
  func step(_ event: Event) { carryOut(board.step(event, at: now)) }

  func carryOut(_ effects: [Effect]) {
    do {
      try store.apply(effects.compactMap { if case .persist(let change) = $0 { change } else { nil } })
    } catch {
      fail(error)
      return
    }
    for effect in effects { carryOut(effect) }
  }

  private func carryOut(_ effect: Effect) {
    switch effect {
    case .persist(let change): committed(change)
    case .send(let connection, let order):
      guard let peer = peers[connection] else { return }
      var envelope = order.envelope(limits: board.limits)
      if case .begin(let briefing) = order { keyring.complete(&envelope.generationBegin, briefing) }
      server.send(envelope, to: peer)
    case .answer(let request, let answer):
      guard let (peer, number) = requests.removeValue(forKey: request) else { return }
      reply(answer.body, to: peer, number)
    case .prepareDataset(let job):
      if let spec = specs[job] { preparer.prepare(job, spec.data) }
    case .verifyCheckpoints(let job):
      if let record = board.record(of: job) { desk.verify(job, directory: directory.checkpoints(record)) }
    case .log(let job, let severity, let text): log(job, severity, text)
    case .changed(let job):
      changed.insert(job)
      if board.record(of: job)?.state.isOver == true { keyring.forget(job) }
    }
  }

  /// A decision could not be written down: it must not be acted upon, so this process ends.
  ///
  /// The next one goes on from what was written.
  private func fail(_ error: any Error) {
    hasFailed = true
    let cause = error as? RunStoreError
    end(
      CoordinatorError(
        .store, cause?.message ?? "a decision could not be written down",
        hint: cause?.hint ?? "check the disk, then start the coordinator again", location: store.path,
        cause: cause?.cause ?? error, exitCode: 75))
  }

  func stop() { end(nil) }

  // MARK: Keys

  /// Looks whether keys were revoked, and has their owners out of whatever they take part in.
  private func dismissRevoked() {
    let news = gate.refresh()
    if let problem = news.problem { logger.error("the list of keys stays as it was: \(problem)") }
    for (peer, name) in news.dismissed {
      watchers[peer] = nil
      guard let connection = connections[peer] else { continue }
      step(.revoked(connection, key: name))
    }
  }

  private func enroll(_ message: WireEnroll, from peer: PeerIdentity, _ request: UInt64) {
    switch gate.enroll(message, from: peer) {
    case .success(let enrolled):
      logger.info("enrolled a key of \(enrolled.role) \(enrolled.name) by its token")
      // Before the answer: who holds the token hears the door refuse it from then on.
      dismissRevoked()
      reply(.enrolled(enrolled), to: peer, request)
    case .failure(let refusal): reply(.refused(refusal.message), to: peer, request)
    }
  }

  // MARK: Who is who

  func connection(of peer: PeerIdentity) -> ConnectionID {
    if let connection = connections[peer] { return connection }
    lastConnection += 1
    let connection = ConnectionID(lastConnection)
    connections[peer] = connection
    peers[connection] = peer
    return connection
  }

  func expectAnswer(for peer: PeerIdentity, _ number: UInt64) -> RequestID {
    lastRequest += 1
    let request = RequestID(lastRequest)
    requests[request] = (peer, number)
    return request
  }

  func reply(_ body: WireEnvelope.OneOf_Body, to peer: PeerIdentity, _ request: UInt64) {
    server.send(.answering(request, body), to: peer)
  }
}

extension WireEnvelope {
  static func answering(_ request: UInt64, _ body: WireEnvelope.OneOf_Body) -> WireEnvelope {
    var envelope = WireEnvelope()
    envelope.request = request
    envelope.body = body
    return envelope
  }
}

extension Answer {
  var body: WireEnvelope.OneOf_Body {
    switch self {
    case .submitted(let job, let existed):
      var result = WireSubmitResult()
      result.job = job.rawValue
      result.existed = existed
      return .submitResult(result)
    case .controlled(let accepted, let reason):
      var result = WireControlResult()
      result.accepted = accepted
      result.reason = reason
      return .controlResult(result)
    case .drained(let names):
      var result = WireDrainResult()
      result.workers = names
      return .drainResult(result)
    }
  }
}
