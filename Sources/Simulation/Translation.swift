// From one state machine's words to the other's, as Order+Wire, Event+Wire and WireConversion do through protobuf.
import Coordinator
import RunStore
import Worker

extension GenerationKey {
  init(_ stamp: Stamp) { self.init(job: stamp.job.rawValue, generation: stamp.generation) }
}

extension Stamp {
  init(_ key: GenerationKey) { self.init(job: JobID(key.job), generation: key.generation) }
}

extension MemberEvent {
  /// What an order means to a worker.
  init(_ order: Order) {
    switch order {
    case .welcome(let id): self = .welcomed(worker: id.rawValue)
    case .refused(let reason, let remedy, let exitCode):
      self = .refused(reason: reason, remedy: remedy, exitCode: exitCode)
    case .begin(let briefing): self = .begin(Assignment(briefing))
    case .sync(let stamp, let step, let origin):
      let source: Synchronization.Source =
        switch origin {
        case .peer(let rank): .peer(rank: rank)
        case .checkpoint: .checkpoint
        case .initialize: .initialize
        }
      self = .synchronize(GenerationKey(stamp), Synchronization(step: step, source: source))
    case .start(let stamp): self = .start(GenerationKey(stamp))
    case .stop(let stamp, let step, let saves): self = .stop(GenerationKey(stamp), step: step, saves: saves)
    case .standby(let job, let spec, let dataset):
      self = .standby(StandbyOrder(job: job.rawValue, spec: spec, dataset: dataset))
    case .drain(let reason): self = .drain(reason: reason)
    case .end(let stamp, let reason, let jobOver): self = .end(GenerationKey(stamp), reason: reason, jobOver: jobOver)
    }
  }
}

extension Assignment {
  init(_ briefing: Briefing) {
    self.init(
      key: GenerationKey(briefing.stamp), rank: briefing.rank,
      peers: briefing.members.map {
        Peer(
          name: $0.worker.name, dataEndpoint: $0.worker.dataEndpoint, localEndpoint: "", host: "", shards: $0.shards)
      }, spec: briefing.spec, dataset: briefing.dataset, checkpoint: briefing.checkpoint?.name)
  }
}

extension Event {
  /// What a worker's statement means to the coordinator; nil for heartbeats and requests.
  init?(_ message: MemberMessage, on connection: ConnectionID, worker: WorkerRecord, step: UInt64) {
    switch message {
    case .hello(let key):
      self = .hello(
        connection,
        Introduction(worker: worker, stamp: key.map(Stamp.init), committedStep: key == nil ? 0 : step))
    case .position(let key, let step):
      self = .position(connection, Stamp(key), hasState: step != nil, committedStep: step ?? 0)
    case .ready(let key, let step): self = .ready(connection, Stamp(key), step: step)
    case .peerLost(let key, let rank, let evidence):
      self = .peerLost(connection, Stamp(key), rank: rank, evidence: evidence)
    case .failed(let key, let failure):
      self = .failed(connection, Stamp(key), message: failure.message, hint: failure.hint)
    case .stopped(let key, let step): self = .stopped(connection, Stamp(key), step: step)
    case .standbyReady(let job): self = .standbyReady(connection, JobID(job))
    case .heartbeat, .leave: return nil
    }
  }

  /// The same statement on another connection, about another generation if one is given; nil for what is no statement about one.
  func moved(to connection: ConnectionID, generation: UInt64? = nil) -> Event? {
    func restamped(_ stamp: Stamp) -> Stamp { Stamp(job: stamp.job, generation: generation ?? stamp.generation) }
    switch self {
    case .position(_, let stamp, let hasState, let step):
      return .position(connection, restamped(stamp), hasState: hasState, committedStep: step)
    case .ready(_, let stamp, let step): return .ready(connection, restamped(stamp), step: step)
    case .peerLost(_, let stamp, let rank, let evidence):
      return .peerLost(connection, restamped(stamp), rank: rank, evidence: evidence)
    case .stepped(_, let stamp, let step): return .stepped(connection, restamped(stamp), step: step)
    case .stopped(_, let stamp, let step): return .stopped(connection, restamped(stamp), step: step)
    default: return nil
    }
  }
}

extension Order {
  /// The same order with rank 0 as the one who has the state.
  var fromRankZero: Order {
    guard case .sync(let stamp, let step, .peer) = self else { return self }
    return .sync(stamp, step: step, .peer(rank: 0))
  }

  /// A few words for the trace.
  var summary: String {
    switch self {
    case .welcome(let id): "welcome as \(id)"
    case .refused(let reason, _, _): "refused: \(reason)"
    case .begin(let briefing): "begin \(briefing.stamp), rank \(briefing.rank) of \(briefing.members.count)"
    case .sync(let stamp, let step, let origin): "sync \(stamp) at step \(step) from \(origin)"
    case .start(let stamp): "start \(stamp)"
    case .stop(let stamp, let step, let saves): "stop \(stamp) after step \(step)\(saves ? " and save" : "")"
    case .standby(let job, _, _): "stand by for \(job)"
    case .drain(let reason): "drain: \(reason)"
    case .end(let stamp, let reason, let jobOver): "end \(stamp)\(jobOver ? " and the job" : ""): \(reason)"
    }
  }
}
