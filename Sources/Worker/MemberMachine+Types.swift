// What goes into and comes out of the member's decisions.
public import Logging

/// Something that happened to this worker.
public enum MemberEvent: Sendable, Equatable {
  /// The control connection stands; the coordinator has not answered yet.
  case linkUp
  /// The control connection is gone; it is being made again in the background.
  case linkDown(reason: String)
  /// The coordinator knows this incarnation as worker number `worker`.
  case welcomed(worker: UInt64)
  /// The coordinator will not have this worker.
  case refused(reason: String, remedy: String, exitCode: Int32)

  /// The coordinator has committed a generation with this worker as a member.
  case begin(Assignment)
  /// Every position is known: this is where all of them start.
  case synchronize(GenerationKey, Synchronization)
  /// Every member is ready.
  case start(GenerationKey)
  /// The members stop after `step` committed steps, or at once when they are past it.
  ///
  /// With `saves`, rank 0 has a checkpoint stored before.
  case stop(GenerationKey, step: UInt64, saves: Bool)
  /// A job goes on that this worker is to join: its data is wanted.
  case standby(StandbyOrder)
  /// This worker is wanted no longer.
  case drain(reason: String)
  /// The generation is over, and with `jobOver` the job as well.
  case end(GenerationKey, reason: String, jobOver: Bool)

  /// The mesh with the other members stands. `step` is the committed step of the state held, nil without one.
  case formed(GenerationKey, step: UInt64?)
  /// Data and the state after `step` steps are at hand.
  case synchronized(GenerationKey, step: UInt64)
  /// Every step is done, and what rank 0 owes the coordinator has been queued.
  case trained(GenerationKey)
  /// Stopped as ordered; the state after `step` steps is kept.
  case stopped(GenerationKey, step: UInt64)
  /// The data of the job that this worker stands by for is in memory, as far as it could be had.
  case warmed(job: UInt64)
  /// The mesh lost a peer.
  case peerLost(GenerationKey, rank: Int, evidence: String)
  /// The work cannot be done, here or on any other worker.
  case failed(GenerationKey, JobFailure)
  /// Asked to save before leaving: the state is with the coordinator, or it could not be saved.
  case saved(GenerationKey)
  /// The Leave message has been answered.
  case leaveAcknowledged

  /// SIGTERM, SIGINT or SIGUSR1.
  case signal(name: String)
  /// A tenth of a second or so has passed.
  case tick
}

/// What a worker needs to prepare for a job whose next generation it will join.
public struct StandbyOrder: Sendable, Hashable {
  /// Number of the job.
  public var job: UInt64
  /// The resolved job spec, YAML.
  public var spec: String
  /// Folder of the dataset in the coordinator's files.
  public var dataset: String

  /// Memberwise.
  public init(job: UInt64, spec: String, dataset: String) {
    self.job = job
    self.spec = spec
    self.dataset = dataset
  }
}

/// Why a job cannot go on.
///
/// Another worker would fail in the same way.
public struct JobFailure: Sendable, Hashable {
  /// What is wrong, with the values.
  public var message: String
  /// What to do about it, or empty.
  public var hint: String
  /// The exit code of the design's section 7.5 that fits.
  public var exitCode: Int32

  /// Memberwise.
  public init(message: String, hint: String = "", exitCode: Int32) {
    self.message = message
    self.hint = hint
    self.exitCode = exitCode
  }
}

/// A statement to the coordinator.
///
/// Those about a generation are said again after a lost connection.
public enum MemberMessage: Sendable, Equatable {
  /// Who this is and what it is doing; the shell adds the committed step.
  case hello(GenerationKey?)
  /// Alive; the shell adds committed step, phase and memory.
  case heartbeat(GenerationKey?)
  /// The state held at the beginning of a generation.
  case position(GenerationKey, step: UInt64?)
  /// Ready to train from `step`.
  case ready(GenerationKey, step: UInt64)
  /// Stopped after `step` committed steps, as ordered.
  case stopped(GenerationKey, step: UInt64)
  /// The data of the job is in memory.
  case standbyReady(job: UInt64)
  /// A peer is gone or silent.
  case peerLost(GenerationKey, rank: Int, evidence: String)
  /// The job cannot be done.
  case failed(GenerationKey, JobFailure)
  /// This worker goes; asks for an answer.
  case leave(reason: String)
}

/// Something to do, in order.
public enum MemberEffect: Sendable, Equatable {
  /// Send to the coordinator.
  case send(MemberMessage)
  /// Stop whatever runs for a generation, at once: its step in flight is abandoned, the committed state stays.
  case interrupt(reason: String)
  /// Connect to the members, then report `.formed`.
  case form(Assignment)
  /// Load the data, take the state at the given step, then report `.synchronized`.
  case synchronize(GenerationKey, Synchronization)
  /// Train to the end, then report `.trained`.
  case train(GenerationKey)
  /// Train up to the given step at most, with `saves` have a checkpoint stored, then report `.stopped`.
  case stop(GenerationKey, step: UInt64, saves: Bool)
  /// Get the data of a job, then report `.warmed`.
  case standBy(StandbyOrder)
  /// Finish the step in flight, save a checkpoint, then report `.saved`.
  case saveAndStop(GenerationKey)
  /// Forget state and plan of the job.
  case drop(job: UInt64)
  /// Tell the log.
  case log(Logger.Level, String)
  /// End the process.
  case exit(code: Int32)
}
