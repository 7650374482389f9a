// Orders of the state machine -> control messages to workers.
import Communication
import RunStore

extension Order {
  /// The message on the wire.
  func envelope(limits: JobBoard.Limits) -> WireEnvelope {
    var envelope = WireEnvelope()
    switch self {
    case .welcome(let worker):
      envelope.welcome.worker = worker.rawValue
      envelope.welcome.heartbeatMilliseconds = limits.heartbeat.wholeMilliseconds
      envelope.welcome.deadMilliseconds = limits.dead.wholeMilliseconds
    case .refused(let reason, let remedy, let exitCode):
      envelope.refused.reason = reason
      envelope.refused.remedy = remedy
      envelope.refused.exitCode = exitCode
    case .begin(let briefing): envelope.generationBegin = WireGenerationBegin(briefing)
    case .sync(let stamp, let step, let origin):
      envelope.generationSync.job = stamp.job.rawValue
      envelope.generationSync.generation = stamp.generation
      envelope.generationSync.step = step
      switch origin {
      case .initialize: envelope.generationSync.source = .initialize
      case .checkpoint: envelope.generationSync.source = .checkpoint
      case .peer(let rank):
        envelope.generationSync.source = .peer
        envelope.generationSync.sourceRank = UInt32(rank)
      }
    case .start(let stamp):
      envelope.generationStart.job = stamp.job.rawValue
      envelope.generationStart.generation = stamp.generation
    case .stop(let stamp, let step, let saves):
      envelope.generationStop.job = stamp.job.rawValue
      envelope.generationStop.generation = stamp.generation
      envelope.generationStop.step = step
      envelope.generationStop.saves = saves
    case .standby(let job, let spec, let dataset):
      envelope.standby.job = job.rawValue
      envelope.standby.spec = spec
      envelope.standby.dataset = "data/\(dataset)"
    case .drain(let reason): envelope.drain.reason = reason
    case .end(let stamp, let reason, let jobOver):
      envelope.generationEnd.job = stamp.job.rawValue
      envelope.generationEnd.generation = stamp.generation
      envelope.generationEnd.reason = reason
      envelope.generationEnd.jobOver = jobOver
    }
    return envelope
  }
}

extension WireGenerationBegin {
  init(_ briefing: Briefing) {
    self.init()
    let job = briefing.stamp.job.rawValue
    self.job = job
    generation = briefing.stamp.generation
    rank = UInt32(briefing.rank)
    members = briefing.members.map { member in
      var wire = WireMember()
      wire.worker = member.worker.id.rawValue
      wire.name = member.worker.name
      wire.dataEndpoint = member.worker.dataEndpoint
      wire.ipcEndpoint = member.worker.ipcEndpoint
      wire.host = member.worker.host
      wire.shards.first = UInt32(member.shards.lowerBound)
      wire.shards.count = UInt32(member.shards.count)
      return wire
    }
    spec = briefing.spec
    dataset = "data/\(briefing.dataset)"
    if let newest = briefing.checkpoint {
      checkpoint = "jobs/\(job)/checkpoints/\(newest.name)"
      checkpointStep = newest.step
    }
    if !briefing.initialWeights.isEmpty { initialWeights = "jobs/\(job)/initial.safetensors" }
  }
}

extension Duration {
  var wholeMilliseconds: UInt32 { UInt32(clamping: Int((inSeconds * 1_000).rounded())) }
}
