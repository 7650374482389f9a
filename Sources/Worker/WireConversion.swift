// Control messages <-> the events and statements of MemberMachine. What a coordinator sends is checked here, once.
import Communication

extension MemberEvent {
  /// The event that a message from the coordinator means, nil for messages that are not orders.
  ///
  /// - Throws: `WorkerError.communication` when the message contradicts itself.
  init?(_ envelope: WireEnvelope) throws(WorkerError) {
    switch envelope.body {
    case .welcome(let message): self = .welcomed(worker: message.worker)
    case .refused(let message):
      self = .refused(reason: message.reason, remedy: message.remedy, exitCode: message.exitCode)
    case .generationBegin(let message): self = .begin(try Assignment(message))
    case .generationSync(let message):
      let key = GenerationKey(job: message.job, generation: message.generation)
      self = .synchronize(key, try Synchronization(message))
    case .generationStart(let message):
      self = .start(GenerationKey(job: message.job, generation: message.generation))
    case .generationStop(let message):
      let key = GenerationKey(job: message.job, generation: message.generation)
      self = .stop(key, step: message.step, saves: message.saves)
    case .standby(let message):
      self = .standby(StandbyOrder(job: message.job, spec: message.spec, dataset: message.dataset))
    case .drain(let message): self = .drain(reason: message.reason)
    case .generationEnd(let message):
      let key = GenerationKey(job: message.job, generation: message.generation)
      self = .end(key, reason: message.reason, jobOver: message.jobOver)
    default: return nil
    }
  }
}

extension Assignment {
  init(_ message: WireGenerationBegin) throws(WorkerError) {
    let key = GenerationKey(job: message.job, generation: message.generation)
    guard message.rank < message.members.count else {
      throw WorkerError(
        code: .communication, message: "rank \(message.rank) of \(message.members.count) members", location: "\(key)")
    }
    var next = 0
    var peers: [Peer] = []
    for member in message.members {
      // A range beyond 64 shards is no range of ours; the check keeps the sums below from overflowing.
      guard member.shards.count >= 1, member.shards.count <= 64, Int(member.shards.first) == next else {
        throw WorkerError(
          code: .communication,
          message: "\(member.name) has \(member.shards.count) shards from \(member.shards.first); "
            + "the members before it end at \(next)", location: "\(key)")
      }
      let shards = next..<(next + Int(member.shards.count))
      peers.append(
        Peer(
          name: member.name, dataEndpoint: member.dataEndpoint, localEndpoint: member.ipcEndpoint, host: member.host,
          shards: shards))
      next = shards.upperBound
    }
    self.init(
      key: key, rank: Int(message.rank), peers: peers, spec: message.spec, dataset: message.dataset,
      checkpoint: message.checkpoint.isEmpty ? nil : message.checkpoint,
      initialWeights: message.initialWeights.isEmpty ? nil : message.initialWeights,
      keys: try LinkKeys(message, key))
  }
}

extension LinkKeys {
  /// The keys of a generation; nil when none were handed out.
  init?(_ message: WireGenerationBegin, _ key: GenerationKey) throws(WorkerError) {
    guard !message.linkSecret.isEmpty else { return nil }
    let endpoints = message.members.compactMap { CurvePublicKey($0.meshKey) }
    let members = message.members.compactMap { CurvePublicKey($0.linkKey) }
    guard let secret = CurveSecretKey(message.linkSecret), endpoints.count == message.members.count,
      members.count == message.members.count, CurveKeyPair(secret).publicKey == members[Int(message.rank)]
    else {
      throw WorkerError(
        code: .communication, message: "the keys of \(message.members.count) members are not whole",
        location: "\(key)")
    }
    self.init(own: CurveKeyPair(secret), endpoints: endpoints, members: members)
  }
}

extension Synchronization {
  init(_ message: WireGenerationSync) throws(WorkerError) {
    let source: Source
    switch message.source {
    case .initialize: source = .initialize
    case .checkpoint: source = .checkpoint
    case .peer: source = .peer(rank: Int(message.sourceRank))
    case .unspecified, .UNRECOGNIZED:
      throw WorkerError(
        code: .communication, message: "the state of step \(message.step) comes from nowhere",
        location: "job \(message.job) generation \(message.generation)")
    }
    self.init(step: message.step, source: source)
  }
}

extension MemberMessage {
  /// What the shell adds to statements: who this is and how far it is.
  struct Context: Sendable {
    var hello: WireWorkerHello
    var committedStep: UInt64
    var phase: String
    var residentByteCount: UInt64
    var shardMicroseconds: UInt64 = 0
  }

  /// The message on the wire.
  func envelope(_ context: Context) -> WireEnvelope {
    var envelope = WireEnvelope()
    switch self {
    case .hello(let key):
      envelope.workerHello = context.hello
      envelope.workerHello.job = key?.job ?? 0
      envelope.workerHello.generation = key?.generation ?? 0
      envelope.workerHello.committedStep = key == nil ? 0 : context.committedStep
    case .heartbeat(let key):
      envelope.heartbeat.job = key?.job ?? 0
      envelope.heartbeat.generation = key?.generation ?? 0
      envelope.heartbeat.committedStep = key == nil ? 0 : context.committedStep
      envelope.heartbeat.phase = context.phase
      envelope.heartbeat.residentBytes = context.residentByteCount
      envelope.heartbeat.shardMicroseconds = key == nil ? 0 : context.shardMicroseconds
    case .position(let key, let step):
      envelope.memberPosition.job = key.job
      envelope.memberPosition.generation = key.generation
      envelope.memberPosition.hasState_p = step != nil
      envelope.memberPosition.committedStep = step ?? 0
    case .ready(let key, let step):
      envelope.memberReady.job = key.job
      envelope.memberReady.generation = key.generation
      envelope.memberReady.step = step
    case .stopped(let key, let step):
      envelope.memberStopped.job = key.job
      envelope.memberStopped.generation = key.generation
      envelope.memberStopped.step = step
    case .standbyReady(let job): envelope.standbyReady.job = job
    case .peerLost(let key, let rank, let evidence):
      envelope.peerLost.job = key.job
      envelope.peerLost.generation = key.generation
      envelope.peerLost.rank = UInt32(rank)
      envelope.peerLost.evidence = evidence
    case .failed(let key, let failure):
      envelope.jobFailed.job = key.job
      envelope.jobFailed.generation = key.generation
      envelope.jobFailed.message = failure.message
      envelope.jobFailed.hint = failure.hint
      envelope.jobFailed.exitCode = failure.exitCode
    case .leave(let reason):
      envelope.leave.reason = reason
    }
    return envelope
  }
}
