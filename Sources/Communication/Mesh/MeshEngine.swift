// The mesh thread: links, generations, the order of collective operations. What they do with frames is their own business.
// A generation, once broken, is over: links are dropped, held frames released, and waiters woken only after libzmq has let go
// of their buffers, so that a caller may overwrite them without a peer ever receiving the overwritten bytes.

import Foundation

final class MeshEngine {
  let transport: any MeshTransport
  private let shared: PeerMesh.SharedBox
  private let onPeerLost: @Sendable (PeerLoss) -> Void

  /// The generation that lives, formed or forming.
  private(set) var membership: MeshMembership?
  private var forming: Gate?
  private var linkedTo: Set<Int> = []
  private var heardFrom: Set<Int> = []
  /// Links of others to this member by their identity, also of generations that this member has yet to form.
  private var senders: [UInt64: Sender] = [:]
  private var endedGenerations: [UInt64: UInt64] = [:]

  private var operation: (any CollectiveOperation)?
  private var sequence: UInt32 = 0
  /// Frames of operations that this member has not begun.
  ///
  /// Peers are one ahead at most, unless they need nothing from here.
  private var early: [Frame] = []
  private static let mostOperationsAhead: UInt32 = 64

  /// Waiters of a broken generation, until the ledger is empty.
  private var condemned: [(gate: Gate, error: CommunicationError)] = []
  /// A generation to form as soon as the ledger is empty.
  private var next: (membership: MeshMembership, gate: Gate)?
  var state = StateTransfer()
  private var traffic = MeshTraffic()
  private var publishedTraffic = MeshTraffic()
  private var commands: [MeshCommand] = []

  private struct Sender {
    var job: UInt64
    var generation: UInt64
    var rank: Int
  }

  init(
    transport: any MeshTransport, shared: PeerMesh.SharedBox, onPeerLost: @escaping @Sendable (PeerLoss) -> Void
  ) {
    self.transport = transport
    self.shared = shared
    self.onPeerLost = onPeerLost
  }

  // MARK: The loop

  func run() {
    while takeCommands() {
      settle()
      transport.poll(timeout: nil) { handle($0) }
      settle()
    }
    let closed = MeshCommand.closedError
    end(closed)
    if let (_, gate) = next { gate.fail(closed) }
    next = nil
    let deadline = Date(timeIntervalSinceNow: 2)
    while !transport.ledger.isEmpty && Date() < deadline { transport.poll(timeout: .milliseconds(20)) { handle($0) } }
    settle()
    transport.close()
  }

  /// Returns false when the mesh is closed.
  private func takeCommands() -> Bool {
    let isClosed = shared.withLock { shared in
      swap(&commands, &shared.commands)
      return shared.isClosed
    }
    for command in commands { obey(command) }
    commands.removeAll(keepingCapacity: true)
    return !isClosed
  }

  private func obey(_ command: MeshCommand) {
    switch command {
    case .form(let membership, let gate): form(membership, gate)
    case .giveUpForming(let gate, let timeout): giveUpForming(gate, after: timeout)
    case .end(let job, let generation, let reason): end(job: job, generation: generation, reason: reason)
    case .begin(let operation): begin(operation)
    case .submit(let operation, let bucket):
      attempt { if self.operation === operation { try operation.submit(bucket: bucket, on: self) } }
    case .submitMaxima(let operation):
      attempt { if self.operation === operation { try operation.submitMaxima(on: self) } }
    case .serve(let provider): state.provider = provider
    case .fetch(let fetch): startFetch(fetch)
    case .giveUpFetching(let fetch, let timeout): state.giveUp(fetch, after: timeout, on: self)
    }
  }

  private func attempt(_ body: () throws -> Void) {
    do { try body() } catch {
      end(error as? CommunicationError ?? CommunicationError(.protocolViolation, "\(error)"))
    }
  }

  /// What can be concluded once libzmq has let go of the buffers.
  private func settle() {
    if traffic != publishedTraffic {
      publishedTraffic = traffic
      shared.withLock { $0.traffic = traffic }
    }
    guard transport.ledger.isEmpty else { return }
    if let operation, operation.isComplete {
      self.operation = nil
      operation.gate.finish()
    }
    failCondemned()
    if let (membership, gate) = next {
      next = nil
      open(membership, gate)
      // A generation whose links could not even be begun is over already.
      failCondemned()
    }
  }

  private func failCondemned() {
    for (gate, error) in condemned { gate.fail(error) }
    condemned.removeAll(keepingCapacity: true)
  }

  // MARK: Generations

  private func form(_ membership: MeshMembership, _ gate: Gate) {
    end(CommunicationError(.generationEnded, "generation \(membership.generation) replaces it", location: "mesh"))
    if let (_, waiting) = next { waiting.fail(CommunicationError(.generationEnded, "another generation replaces it")) }
    if let ended = endedGenerations[membership.job], membership.generation <= ended {
      return gate.fail(
        CommunicationError(.generationEnded, "it was ended before it formed", location: membership.title))
    }
    next = (membership, gate)
  }

  private func open(_ membership: MeshMembership, _ gate: Gate) {
    self.membership = membership
    forming = gate
    sequence = 0
    state.reset()
    shared.withLock {
      $0.membership = membership
      $0.failure = nil
    }
    linkedTo = [membership.rank]
    heardFrom = [membership.rank]
    for sender in senders.values where sender.job == membership.job && sender.generation == membership.generation {
      heardFrom.insert(sender.rank)
    }
    attempt { try transport.open(membership) }
    finishForming()
  }

  private func finishForming() {
    guard let membership, let gate = forming else { return }
    guard linkedTo.count == membership.worldSize, heardFrom.count == membership.worldSize else { return }
    forming = nil
    gate.finish()
  }

  private func giveUpForming(_ gate: Gate, after timeout: Duration) {
    if let (membership, waiting) = next, waiting === gate {
      next = nil
      return gate.fail(
        CommunicationError(.timedOut, "links of an earlier generation did not close", location: membership.title))
    }
    guard forming === gate, let membership else { return gate.fail(CommunicationError(.timedOut, "it did not form")) }
    let missing = (0..<membership.worldSize).filter { !linkedTo.contains($0) || !heardFrom.contains($0) }
    let names = missing.map(membership.describe).joined(separator: ", ")
    end(
      CommunicationError(
        .timedOut,
        "\(membership.worldSize - missing.count) of \(membership.worldSize) members linked after "
          + "\(timeout.inSeconds) s; missing: \(names)",
        hint: "check that workers reach each other's data endpoints (temper doctor)", location: membership.title))
  }

  private func end(job: UInt64, generation: UInt64, reason: String) {
    endedGenerations[job] = max(endedGenerations[job] ?? 0, generation)
    let error = CommunicationError(.generationEnded, reason, location: "job \(job), generation \(generation)")
    if let (membership, gate) = next, membership.job == job, membership.generation <= generation {
      next = nil
      gate.fail(error)
    }
    if let membership, membership.job == job, membership.generation <= generation { end(error) }
  }

  /// Ends the living generation: links first, then whoever waits, see `settle`.
  func end(_ error: CommunicationError) {
    guard membership != nil else { return }
    membership = nil
    transport.closeLinks()
    shared.withLock { $0.failure = error }
    for frame in early { transport.release(frame) }
    early.removeAll(keepingCapacity: true)
    if let operation {
      operation.abandon(on: self)
      condemned.append((operation.gate, error))
    }
    operation = nil
    if let forming { condemned.append((forming, error)) }
    forming = nil
    condemned += state.abandon().map { ($0, error) }
  }

  private func lose(_ rank: Int, _ evidence: String) {
    guard let membership else { return }
    let error = CommunicationError(
      .peerLost, "\(membership.describe(rank)): \(evidence)", location: membership.title)
    end(error)
    onPeerLost(
      PeerLoss(job: membership.job, generation: membership.generation, rank: rank, evidence: evidence))
  }

  // MARK: Frames

  private func handle(_ event: TransportEvent) {
    switch event {
    case .linked(let rank):
      guard let membership else { return }
      let hello = FrameHeader(
        .hello, rank: membership.rank, job: membership.job, generation: membership.generation)
      attempt { try send(hello, payload: UnsafeRawBufferPointer(start: nil, count: 0), to: rank) }
      linkedTo.insert(rank)
      finishForming()
    case .lost(let rank, let evidence): lose(rank, evidence)
    case .frame(let frame): attempt { try receive(frame) }
    case .garbage: traffic.droppedFrames += 1
    }
  }

  private func receive(_ frame: Frame) throws {
    if frame.header.kind == .hello {
      introduce(frame)
      return transport.release(frame)
    }
    guard let membership, let sender = senders[frame.link], sender.job == membership.job,
      sender.generation == membership.generation, sender.rank == Int(frame.header.rank),
      frame.header.job == membership.job, frame.header.generation == membership.generation
    else {
      traffic.droppedFrames += 1
      return transport.release(frame)
    }
    traffic.receivedFrames += 1
    traffic.receivedBytes += UInt64(frame.payload.count)
    switch frame.header.kind {
    case .partial, .result, .finished, .maxima, .gather: try receiveCollective(frame)
    default:
      defer { transport.release(frame) }
      try state.receive(frame, on: self)
    }
  }

  private func receiveCollective(_ frame: Frame) throws {
    let number = frame.header.sequence
    if number == sequence, let operation {
      try operation.receive(frame, on: self)
    } else if number > sequence, number - sequence <= Self.mostOperationsAhead {
      early.append(frame)
    } else {
      transport.release(frame)
      throw violation(frame, "operation \(number) while operation \(sequence) is the latest here")
    }
  }

  private func introduce(_ frame: Frame) {
    let header = frame.header
    if senders.count >= 1_024 {
      senders = senders.filter { $0.value.job == membership?.job && $0.value.generation == membership?.generation }
    }
    senders[frame.link] = Sender(job: header.job, generation: header.generation, rank: Int(header.rank))
    guard let membership, header.job == membership.job, header.generation == membership.generation,
      Int(header.rank) < membership.worldSize
    else { return }
    heardFrom.insert(Int(header.rank))
    finishForming()
  }

  /// Sends a frame of the living generation.
  ///
  /// - Throws: `peerLost` when the link is broken.
  func send(_ header: FrameHeader, payload: UnsafeRawBufferPointer, to rank: Int) throws {
    var header = header
    header.payloadByteCount = UInt32(payload.count)
    guard transport.send(header, payload: payload, to: rank) else {
      lose(rank, "the link broke while sending")
      throw CommunicationError(.peerLost, "the link to rank \(rank) broke while sending")
    }
    traffic.sentFrames += 1
    traffic.sentBytes += UInt64(payload.count)
    traffic.lentBytes = transport.lentByteCount
  }

  func violation(_ frame: Frame, _ what: String) -> CommunicationError {
    CommunicationError(
      .protocolViolation,
      "\(membership?.describe(Int(frame.header.rank)) ?? "a peer") sent \(frame.header.kind) of step "
        + "\(frame.header.step): \(what)",
      hint: "run the same release of temper on every machine", location: membership?.title ?? "mesh")
  }

  // MARK: Operations

  private func begin(_ operation: any CollectiveOperation) {
    guard let membership, forming == nil, operation.job == membership.job,
      operation.generation == membership.generation
    else {
      let error = shared.withLock { $0.failure } ?? CommunicationError(.generationEnded, "it is over for this member")
      condemned.append((operation.gate, error))
      return
    }
    precondition(self.operation == nil, "two collective operations at a time")
    sequence += 1
    self.operation = operation
    attempt {
      try operation.begin(sequence: sequence, on: self)
      // In the order they came: links keep theirs, and a gather relies on it.
      while let index = early.firstIndex(where: { $0.header.sequence == sequence }) {
        try operation.receive(early.remove(at: index), on: self)
      }
    }
  }

  private func startFetch(_ fetch: StateFetch) {
    guard membership != nil, forming == nil else {
      let error = shared.withLock { $0.failure } ?? CommunicationError(.generationEnded, "it is over for this member")
      condemned.append((fetch.gate, error))
      return
    }
    attempt { try state.start(fetch, on: self) }
  }
}
