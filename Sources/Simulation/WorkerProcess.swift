// One worker process: the product's MemberMachine and DeliveryLine, and a model of what surrounds them in a real one (training thread,
// mesh, control client). The counterparts are MemberRunner, TrainingLoop, PeerMesh and ControlClient; keep them in step.
import Coordinator
import RunStore
import Worker

/// A worker from start to exit.
final class WorkerProcess {
  /// A training state: steps committed and the hash that stands for the tensors.
  struct State {
    var job: UInt64
    var step: UInt64
    var hash: UInt64
  }

  /// One generation as the training thread sees it.
  struct Run {
    var assignment: Assignment
    var plan: JobPlan
    var reference: Reference
    /// Processes by rank.
    var peers: [Int]
    var shards: Range<Int>
    /// Ranks whose links stand.
    var linked: UInt64 = 0
    var isFormed = false
    var target: Synchronization?
    var piecesLeft = 0
    var isTraining = false
    var isStopped = false
    /// What it is told about its end, as `GenerationRun` keeps it.
    var stop: (step: UInt64, saves: Bool)?
    var lastCheckpoint: UInt64?
    var stage = Stage.checkpoint
    var startsFromCheckpoint = false
    /// The state that the step in flight is computed on.
    var base: UInt64 = 0
    var clock: ShardClock
    var computing: Int64 = 0
    /// Operations of the evaluation under way that are to be done.
    var operationsLeft: Int64 = 0

    var key: GenerationKey { assignment.key }
    var isLeader: Bool { assignment.rank == 0 }

    /// Whether an evaluation gives way to a stop; as TrainingLoop.
    func isToSaveAlone(at step: UInt64) -> Bool {
      peers.count == 1 && stop.map { $0.saves && step >= $0.step } ?? false
    }

    /// Of several requests the earliest step counts, and whether any of them saves.
    mutating func requestStop(at step: UInt64, saves: Bool) {
      stop = (min(stop?.step ?? .max, step), saves || stop?.saves == true)
    }
  }

  /// What is due before the next step.
  enum Stage { case checkpoint, evaluation, end, step }

  /// A round of exchange: parts that have arrived.
  struct Round {
    var number: UInt64
    var ranks: UInt64 = 0
    var sum: UInt64 = 0
  }

  /// Something that rank 0 owes the coordinator.
  enum Owed {
    case checkpoint(step: UInt64, hash: UInt64, isFinal: Bool)
    case epoch(Int, step: UInt64)
    case finished(step: UInt64, hash: UInt64)
  }

  /// A request that waits for its answer.
  struct Pending {
    var number: UInt64
    var request: Request
    var isSent = false
  }

  /// A delivery under way.
  struct Attempt {
    var owed: Owed
    var key: GenerationKey
    var stage = 0
  }

  let serial: Int
  let slot: Int
  var machine: MemberMachine
  var isAlive = true
  /// The training thread hangs: what it should do is kept here for ever.
  var isHung = false
  var hungSince: Int64 = 0
  /// Its key is not admitted any more.
  var isRevoked = false
  /// Somebody without a key.
  var isStranger = false
  /// What came while the process was frozen.
  var deferred: [Occurrence] = []

  var connection: Int?
  var retry: Int64 = 100_000

  var state: State?
  /// The newest step that this process has ever committed in its current job, for the judge.
  var witnessed: (job: UInt64, step: UInt64) = (0, 0)
  var activity = "idle"
  var work = 0
  var run: Run?
  var runBegan: Int64 = 0
  /// Links of peers for generations that this process may not have begun.
  var hellos: [(key: GenerationKey, rank: Int)] = []
  var rounds: [Round] = []
  var dataset: UInt64?
  /// The job that it gets the data for, and the pieces that are missing.
  var standby: (job: UInt64, spec: UInt64, piecesLeft: Int)?
  /// What heartbeats say about its speed, 0 while it is not known.
  var shardMicroseconds: UInt64 = 0
  var evaluated: Set<Int> = []

  var line = DeliveryLine<Owed>()
  var attempt: Attempt?
  var isSnapshotTaken = false
  var pausedUntil: Int64 = 0
  var delivery: Pending?
  var fetch: Pending?
  var leave: Pending?

  /// The job whose log its lines are for, and how many there were.
  var logJob: UInt64?
  var lines: [JobID: UInt64] = [:]
  /// For the planted bug of lines that are numbered anew.
  var numbered: (connection: Int?, last: UInt64) = (nil, 0)

  /// For the planted bug of stale evidence.
  var lastLoss: Int?
  /// For the planted bug of stale shards.
  var lastShards: Range<Int>?

  init(serial: Int, slot: Int, machine: MemberMachine) {
    self.serial = serial
    self.slot = slot
    self.machine = machine
  }

  /// What heartbeats say.
  var committedStep: UInt64 { state?.step ?? 0 }
}
