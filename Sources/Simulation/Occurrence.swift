// What can happen in a simulated world, and the messages on its links. Messages are the values of the state machines themselves:
// nothing is encoded.
import Coordinator
import RunStore
import Worker

/// Something that happens at a moment.
enum Occurrence {
  case nothing

  // Time as processes see it.
  case coordinatorTick(life: Int)
  case memberTick(process: Int)

  // Control links.
  case connect(process: Int)
  case connected(process: Int, life: Int)
  case up(connection: Int, Upward)
  case down(connection: Int, Downward)
  case cutSeenByWorker(connection: Int)
  case cutSeenByCoordinator(connection: Int)

  // Links between members.
  case frame(to: Int, from: Int, Frame)
  case linkLost(process: Int, GenerationKey, rank: Int)

  // Work inside a worker; `work` is the number of the run that ordered it, so that nothing outlives an interruption.
  case work(process: Int, work: Int, Work)
  case outbox(process: Int)
  case timeout(process: Int, request: UInt64)
  indirect case event(process: Int, MemberEvent)

  // Work behind the coordinator.
  case dataset(life: Int, JobID)
  indirect case desk(life: Int, DeskTask)

  // People, faults, the watch.
  case client(Int)
  case clientArrives(Int, ClientRequest)
  indirect case clientAnswered(Int, Answer)
  case knock(stranger: Int, victim: Int)
  case fault
  case thaw(slot: Int)
  case thawCoordinator
  case startWorker(slot: Int)
  case startCoordinator
  case diskFreed
  case heal
  case watch
}

/// A message from a worker to the coordinator.
enum Upward {
  /// A heartbeat: most messages are, so they are kept small.
  case pulse(Stamp?, step: UInt64, activity: String, shardMicroseconds: UInt64)
  indirect case event(Event)
  indirect case request(number: UInt64, Request)
  /// A line for a job's log: the number that the worker gives it, and the true one.
  case line(JobID, number: UInt64, ordinal: UInt64)
}

/// A question of a worker that wants an answer.
enum Request {
  case fetchPiece
  case checkpointBegin(CheckpointOffer)
  case filePiece(JobID)
  case checkpointCommit(Stamp, step: UInt64)
  case report(Report)
  case leave(reason: String)
}

/// What rank 0 tells and wants to know to have arrived.
enum Report {
  case epoch(Stamp, EpochRecord)
  case finished(Stamp, step: UInt64, hash: UInt64)
}

/// A checkpoint as a worker announces it; the hash stands for its files.
struct CheckpointOffer {
  var stamp: Stamp
  var step: UInt64
  var epoch: UInt32
  var isFinal: Bool
  var hash: UInt64
}

/// A message from the coordinator to a worker.
enum Downward {
  indirect case order(Order)
  case reply(number: UInt64, Reply)
}

/// The answer to a request.
enum Reply {
  case acknowledged
  case refused(reason: String)
  case checkpointTaken
}

/// A message between members of a generation.
enum Frame {
  case hello(GenerationKey, rank: Int)
  /// One member's part of the sum of a round.
  case part(GenerationKey, round: UInt64, rank: Int, sum: UInt64)
  case fetchState(GenerationKey, step: UInt64, from: Int, work: Int)
  case state(GenerationKey, step: UInt64, hash: UInt64, work: Int)
  case noState(GenerationKey, work: Int)

  var key: GenerationKey {
    switch self {
    case .hello(let key, _), .part(let key, _, _, _), .fetchState(let key, _, _, _), .state(let key, _, _, _),
      .noState(let key, _):
      key
    }
  }
}

/// What a worker's training thread does next.
enum Work {
  case form
  case formTimeout
  case piece
  case obtained(step: UInt64, hash: UInt64)
  case fetchTimeout
  case proceed
  case computed
  /// What a stop asks to be stored may have been.
  case delivered
  case saved
}

/// What the coordinator's background queue has finished.
enum DeskTask {
  case begin(connection: Int, request: UInt64, CheckpointOffer)
  case commit(connection: Int, request: UInt64, Stamp, step: UInt64)
  case settle(connection: Int, request: UInt64, CheckpointRecord)
  case report(connection: Int, request: UInt64, CheckpointRecord, pruned: [UInt64])
  /// With the newest good one that the store lists when this is asked.
  case verify(JobID, listed: CheckpointRecord?)
}

/// What a client wants.
enum ClientRequest {
  case submit
  case control(JobID, JobVerb)
  case retry(JobID)
  case drain(String)
}
