// What the coordinator remembers: one value per table of the store. See Schema.swift for the columns.

/// The visible state of a job.
public enum JobState: String, Sendable, Hashable, CaseIterable {
  /// Waits for its data set, for workers, or for its turn.
  case queued
  /// Its data set is being made.
  case preparing
  /// Has a generation, or is between two.
  case running
  /// Has given its workers back, until a person resumes it.
  case paused
  /// Ended with a result.
  case finished
  /// Ended with an error that a restart would not cure.
  case failed
  /// Ended at a person's request.
  case cancelled

  /// Whether nothing can happen to the job any more.
  public var isOver: Bool { self == .finished || self == .failed || self == .cancelled }
}

/// What a person has asked a job to do that it has not done yet.
public enum JobIntent: String, Sendable, Hashable {
  /// To store a checkpoint, then to pause.
  case pause
  /// To store a checkpoint, then to end.
  case cancel
}

/// One job as submitted, and what became of it.
public struct JobRecord: Sendable, Hashable {
  /// Its number.
  public var id: JobID
  /// Its name from the spec; several jobs may share one.
  public var name: String
  /// The visible state.
  public var state: JobState
  /// Why it is in that state, in words with counts.
  public var reason: String
  /// The resolved spec (YAML).
  public var spec: String
  /// Absolute path of a safetensors file to start from, empty for random weights.
  public var initialWeights: String
  /// A repeated submission with the same key is the same job; empty means no key.
  public var idempotencyKey: String
  /// Name of the data set below the coordinator's `data/`, empty until it is ready.
  public var dataset: String
  /// Number of the newest generation, 0 before the first.
  public var generation: UInt64
  /// When it was submitted: seconds since 1970 of the coordinator's wall clock, for people only.
  public var submittedUnixSeconds: Double
  /// When it ended, 0 while it has not.
  public var endedUnixSeconds: Double
  /// SHA-256 of the final state, empty unless finished.
  public var sha256: String
  /// Final metrics (JSON), empty unless finished.
  public var result: String
  /// What it has been asked to do and is still about, so that a coordinator that restarts goes on with it.
  public var intent: JobIntent?

  /// A job that has just been submitted.
  public init(
    id: JobID, name: String, spec: String, initialWeights: String = "", idempotencyKey: String = "",
    submittedUnixSeconds: Double = 0
  ) {
    self.id = id
    self.name = name
    self.state = .queued
    self.reason = "submitted"
    self.spec = spec
    self.initialWeights = initialWeights
    self.idempotencyKey = idempotencyKey
    self.dataset = ""
    self.generation = 0
    self.submittedUnixSeconds = submittedUnixSeconds
    self.endedUnixSeconds = 0
    self.sha256 = ""
    self.result = ""
    self.intent = nil
  }
}

/// One stay of a worker, as it introduced itself.
public struct WorkerRecord: Sendable, Hashable {
  /// Its number.
  public var id: WorkerID
  /// UUID of the process, fresh at each start.
  public var incarnation: String
  /// Host and process unless given on the command line.
  public var name: String
  /// Host name; peers on one host may use ipc.
  public var host: String
  /// Threads it computes with.
  public var threads: UInt32
  /// Highest kernel level of its processor.
  public var instructionSet: String
  /// Version of its program.
  public var version: String
  /// Process number on its host.
  public var processIdentifier: UInt32
  /// Where peers reach it, `tcp://...`.
  public var dataEndpoint: String
  /// Where peers on the same host reach it, `ipc://...`, empty if nowhere.
  public var ipcEndpoint: String

  /// A worker's introduction.
  public init(
    id: WorkerID, incarnation: String, name: String, host: String = "", threads: UInt32 = 1,
    instructionSet: String = "", version: String = "", processIdentifier: UInt32 = 0, dataEndpoint: String = "",
    ipcEndpoint: String = ""
  ) {
    self.id = id
    self.incarnation = incarnation
    self.name = name
    self.host = host
    self.threads = threads
    self.instructionSet = instructionSet
    self.version = version
    self.processIdentifier = processIdentifier
    self.dataEndpoint = dataEndpoint
    self.ipcEndpoint = ipcEndpoint
  }
}

/// One member of a generation; its rank is its place in `GenerationRecord.members`.
public struct MemberRecord: Sendable, Hashable {
  /// Who it is.
  public var worker: WorkerID
  /// The virtual shards that it computes, contiguous, not empty.
  public var shards: Range<Int>

  /// A member and its shards.
  public init(worker: WorkerID, shards: Range<Int>) {
    self.worker = worker
    self.shards = shards
  }
}

/// One membership of one job.
public struct GenerationRecord: Sendable, Hashable {
  /// The job.
  public var job: JobID
  /// Counted from 1 in each job, never reused.
  public var number: UInt64
  /// In rank order.
  public var members: [MemberRecord]
  /// Whether its members were told to start stepping.
  public var started: Bool
  /// Why it ended, nil while it has not.
  public var endReason: String?

  /// A generation that is about to begin.
  public init(job: JobID, number: UInt64, members: [MemberRecord]) {
    self.job = job
    self.number = number
    self.members = members
    self.started = false
    self.endReason = nil
  }
}

/// One complete checkpoint on disk.
public struct CheckpointRecord: Sendable, Hashable {
  /// The job.
  public var job: JobID
  /// Steps committed in it.
  public var step: UInt64
  /// The epoch of its last step, counted from 1.
  public var epoch: UInt32
  /// The generation that wrote it.
  public var generation: UInt64
  /// Folder name below the job's `checkpoints/`.
  public var name: String
  /// Whether it holds the end of the job.
  public var isFinal: Bool

  /// A checkpoint that stands complete on disk.
  public init(job: JobID, step: UInt64, epoch: UInt32, generation: UInt64, name: String, isFinal: Bool) {
    self.job = job
    self.step = step
    self.epoch = epoch
    self.generation = generation
    self.name = name
    self.isFinal = isFinal
  }
}

/// The metrics of one epoch.
public struct EpochRecord: Sendable, Hashable {
  /// The job.
  public var job: JobID
  /// Counted from 1.
  public var epoch: UInt32
  /// Steps committed at its end.
  public var step: UInt64
  /// The generation that measured it.
  public var generation: UInt64
  /// `Training.EpochMetrics` as JSON.
  public var json: String
  /// Training time of the epoch, evaluation not counted.
  public var seconds: Double
  /// Training images per second in it.
  public var imagesPerSecond: Double

  /// The metrics of one epoch.
  public init(
    job: JobID, epoch: UInt32, step: UInt64, generation: UInt64, json: String, seconds: Double, imagesPerSecond: Double
  ) {
    self.job = job
    self.epoch = epoch
    self.step = step
    self.generation = generation
    self.json = json
    self.seconds = seconds
    self.imagesPerSecond = imagesPerSecond
  }
}
