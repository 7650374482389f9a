// The words of the state machines: what they are told, what they want done. Plain values without transport types, so that
// the same machines run behind ZeroMQ and in a simulation. Wire/ translates.
package import RunStore

/// One connection of the transport, numbered by the shell; a worker that reconnects comes by a new one.
package struct ConnectionID: Hashable, Comparable, Sendable {
  package let rawValue: UInt64
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  package static func < (left: ConnectionID, right: ConnectionID) -> Bool { left.rawValue < right.rawValue }
}

/// A request of a client that waits for an answer, numbered by the shell.
package struct RequestID: Hashable, Sendable {
  package let rawValue: UInt64
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// Which generation of which job a message speaks of; messages of another generation are dropped and counted.
package struct Stamp: Hashable, Sendable, CustomStringConvertible {
  package var job: JobID
  package var generation: UInt64

  package init(job: JobID, generation: UInt64) {
    self.job = job
    self.generation = generation
  }

  package var description: String { "generation \(generation) of \(job)" }
}

/// What a worker says when it connects.
package struct Introduction: Sendable, Hashable {
  /// The worker; its number is not known yet and ignored.
  package var worker: WorkerRecord
  /// What it is doing already, nil when idle.
  package var stamp: Stamp?
  /// Steps committed in its state.
  package var committedStep: UInt64

  package init(worker: WorkerRecord, stamp: Stamp? = nil, committedStep: UInt64 = 0) {
    self.worker = worker
    self.stamp = stamp
    self.committedStep = committedStep
  }
}

/// A worker's regular sign of life.
package struct Pulse: Sendable, Hashable {
  /// What it is doing, nil when idle.
  package var stamp: Stamp?
  package var committedStep: UInt64
  /// `idle`, `loading data`, `synchronizing`, `training`, `evaluating`, `saving`; more words may follow the first.
  package var phase: String
  package var residentBytes: UInt64
  /// Median time of its own computation per virtual shard and step, nil while that is not known.
  package var shardTime: Duration?

  package init(
    stamp: Stamp? = nil, committedStep: UInt64 = 0, phase: String = "idle", residentBytes: UInt64 = 0,
    shardTime: Duration? = nil
  ) {
    self.shardTime = shardTime
    self.stamp = stamp
    self.committedStep = committedStep
    self.phase = phase
    self.residentBytes = residentBytes
  }
}

/// What scheduling has to know of a spec.
package struct JobSettings: Sendable, Hashable {
  /// V, the number of virtual shards.
  package var shardCount: Int
  package var minimumWorkers: Int
  package var maximumWorkers: Int
  /// How long to wait for more workers after the latest arrival; at most five times that after the first.
  package var joinWindow: Duration
  /// A member without progress for this long, or three median steps if that is longer, hangs.
  package var hang: Duration
  /// Jobs of a higher one get their workers first.
  package var priority: Int

  package init(
    shardCount: Int = 8, minimumWorkers: Int = 1, maximumWorkers: Int = 16, joinWindow: Duration = .seconds(1),
    hang: Duration = .seconds(10), priority: Int = 0
  ) {
    self.priority = priority
    self.shardCount = shardCount
    self.minimumWorkers = minimumWorkers
    self.maximumWorkers = maximumWorkers
    self.joinWindow = joinWindow
    self.hang = hang
  }

  /// The most workers that can have a shard each.
  package var capacity: Int { min(maximumWorkers, shardCount) }
}

/// What happened.
package enum Event: Sendable {
  // From a worker's connection.
  case hello(ConnectionID, Introduction)
  case pulse(ConnectionID, Pulse)
  /// The worker fetched or sent a piece of a file: a sign of life and of progress.
  case transferred(ConnectionID)
  case position(ConnectionID, Stamp, hasState: Bool, committedStep: UInt64)
  case ready(ConnectionID, Stamp, step: UInt64)
  case peerLost(ConnectionID, Stamp, rank: Int, evidence: String)
  case stepped(ConnectionID, Stamp, step: UInt64)
  /// The member has stopped where it was told to, with its state kept.
  case stopped(ConnectionID, Stamp, step: UInt64)
  /// The worker has the data of the job that it stands by for.
  case standbyReady(ConnectionID, JobID)
  case epoch(ConnectionID, Stamp, EpochRecord)
  case leave(ConnectionID, reason: String)
  case finished(ConnectionID, Stamp, step: UInt64, sha256: String, json: String)
  case failed(ConnectionID, Stamp, message: String, hint: String)
  case disconnected(ConnectionID)
  /// The key that the connection proved is not admitted any more; nothing it says is heard from now on.
  case revoked(ConnectionID, key: String)

  // From a client.
  /// - Parameter checkpoint: what a fork goes on from; it stands in the job's directory already.
  case submit(RequestID, JobRecord, JobSettings, checkpoint: CheckpointRecord? = nil)
  case control(RequestID, JobID, JobVerb)
  /// - Parameter settings: of the stored spec, nil when this version cannot read it.
  case retry(RequestID, JobID, JobSettings?)
  /// Every worker of this name, or the one of this number.
  case drain(RequestID, name: String)

  // From the shell's threads.
  case datasetProgress(JobID, String)
  case datasetReady(JobID, String)
  case datasetFailed(JobID, String)
  /// A checkpoint stands complete on disk; those of `pruned` steps were deleted to make room.
  case checkpointStored(CheckpointRecord, pruned: [UInt64])
  /// The answer to `.verifyCheckpoints`: the newest that verifies, and what is wrong with newer ones.
  case checkpointsVerified(JobID, newest: CheckpointRecord?, damaged: [DamagedCheckpoint])
  case tick
}

/// What a client may ask a job to do.
package enum JobVerb: Sendable, Hashable {
  /// Store a checkpoint, then give the workers back until it is resumed.
  case pause
  case resume
  /// Store a checkpoint, then end.
  case cancel
  /// End at once.
  case kill
}

/// A checkpoint that does not verify.
package struct DamagedCheckpoint: Sendable, Hashable {
  package var step: UInt64
  package var problem: String

  package init(step: UInt64, problem: String) {
    self.step = step
    self.problem = problem
  }
}

/// What is to be done, in this order: everything to persist is committed before anything else is carried out.
package enum Effect: Sendable, Hashable {
  case persist(StoreChange)
  case send(ConnectionID, Order)
  case answer(RequestID, Answer)
  case prepareDataset(JobID)
  case verifyCheckpoints(JobID)
  case log(JobID?, Severity, String)
  /// Something that watchers of the job see has changed.
  case changed(JobID)

  package enum Severity: Sendable, Hashable { case debug, info, warning, error }
}

/// The answer to a client.
package enum Answer: Sendable, Hashable {
  case submitted(JobID, existed: Bool)
  case controlled(accepted: Bool, reason: String)
  /// The names of the workers that were told to leave.
  case drained([String])
}

/// A message to a worker.
package enum Order: Sendable, Hashable {
  case welcome(WorkerID)
  case refused(reason: String, remedy: String, exitCode: Int32)
  case begin(Briefing)
  case sync(Stamp, step: UInt64, StateOrigin)
  case start(Stamp)
  /// Commit steps up to `step`, then stop and keep the state; with `saves`, rank 0 stores a checkpoint first.
  case stop(Stamp, step: UInt64, saves: Bool)
  /// Fetch the data of a job that goes on meanwhile; a generation of it follows.
  case standby(JobID, spec: String, dataset: String)
  /// Hand over what is held, then leave for good.
  case drain(reason: String)
  case end(Stamp, reason: String, jobOver: Bool)
}

/// Where members that are at another step get the state from.
package enum StateOrigin: Sendable, Hashable {
  case peer(rank: Int)
  case checkpoint
  case initialize
}

/// All that a member has to know of its generation.
package struct Briefing: Sendable, Hashable {
  package struct Member: Sendable, Hashable {
    package var worker: WorkerRecord
    package var shards: Range<Int>
  }

  package var stamp: Stamp
  package var rank: Int
  package var members: [Member]
  package var spec: String
  package var dataset: String
  package var initialWeights: String
  package var checkpoint: CheckpointRecord?
}
