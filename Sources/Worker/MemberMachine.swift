// What one member does and when: every decision of a worker, as a pure state machine.
// The shell (WorkerSession) turns sockets, threads, signals and time into events and carries out the effects in order.
// A job is a chain of generations: forming -> synchronizing -> ready -> training -> trained, or stopped where it was announced. Whatever ends a generation (the
// coordinator, a lost peer) leads to `interrupted`, where the committed state is kept for the next one.
import Logging

/// The decisions of one worker.
public struct MemberMachine: Sendable {
  /// The limits that decisions depend on.
  public struct Limits: Sendable, Hashable {
    /// Where the coordinator is looked for, for messages.
    public var coordinator = ""
    /// Without a coordinator for this long, and without steps left that need none, the process exits with 69.
    public var coordinatorTimeout: Duration = .seconds(60)
    /// With `once`: idle for this long means nothing to do.
    public var onceIdle: Duration = .seconds(5)
    /// Exit with 0 when there is nothing to do.
    public var once = false
    /// From the signal to the exit, saving included.
    ///
    /// Slurm and Kubernetes kill after 30 s, the promise is 20 s.
    public var leaveTimeout: Duration = .seconds(15)
    /// For the answer to Leave.
    public var leaveAnswerTimeout: Duration = .seconds(2)
    /// Between two heartbeats, until the coordinator says otherwise.
    public var heartbeat: Duration = .milliseconds(250)

    /// The defaults.
    public init() {}
  }

  /// Where this worker stands in its generation.
  enum Phase: Equatable {
    case idle
    case forming
    case positioned(step: UInt64?)
    case synchronizing
    case ready(step: UInt64)
    case training
    case stopped(step: UInt64)
    case trained
    case interrupted
    case peerLost(rank: Int, evidence: String)
    case failed(JobFailure)
  }

  enum Link: Equatable {
    case down
    case connected
    case welcomed
  }

  enum Leaving: Equatable {
    case saving
    case announced(at: Duration)
  }

  let limits: Limits
  var link = Link.down
  var phase = Phase.idle
  var assignment: Assignment?
  /// When the phase or the link last changed: the two clocks that limits count on.
  var phaseSince: Duration
  var linkSince: Duration
  var lastHeartbeat: Duration
  var leaving: Leaving?
  var leavingSince: Duration?
  var leaveReason = ""
  /// What a drained worker exits with, whatever it held.
  var leaveCode: Int32?
  /// The job that this idle worker gets ready for.
  var standby: UInt64?
  var trouble = ""
  var exited = false
  /// Orders and reports of generations that are over, dropped.
  public private(set) var staleCount = 0

  /// A worker that is about to connect.
  public init(limits: Limits, at now: Duration) {
    self.limits = limits
    phaseSince = now
    linkSince = now
    lastHeartbeat = now
  }

  // Not inlined: the optimizer of Swift 6.3.1 stops with an ownership error where this is merged into its callers.
  /// The generation this worker takes part in, nil when idle.
  @inline(never)
  public var key: GenerationKey? { assignment?.key }

  /// Takes one event at monotonic time `now` and says what to do, in order.
  public mutating func step(_ event: MemberEvent, at now: Duration) -> [MemberEffect] {
    guard !exited else { return [] }
    let effects = decide(event, now)
    exited = effects.contains { if case .exit = $0 { true } else { false } }
    return effects
  }

  private mutating func decide(_ event: MemberEvent, _ now: Duration) -> [MemberEffect] {
    switch event {
    case .linkUp, .linkDown, .welcomed, .refused: linkChanged(event, now)
    case .signal(let name): signaled(name, now)
    case .drain(let reason): drained(reason, now)
    case .leaveAcknowledged: leaving == nil ? [] : exit()
    case .tick: ticked(now)
    case .saved(let key): key == self.key && leaving == .saving ? announce(now) : stale("saved", key)
    case .end(let key, let reason, true) where leaving == .saving: nothingToSave(key, reason, now)
    // A leaving worker takes no new orders; what it still does is its own business.
    case _ where leaving != nil: []
    case .begin(let next): begin(next, now)
    case .synchronize(let key, let target): synchronize(key, target, now)
    case .start(let key): start(key, now)
    case .stop(let key, let step, let saves): stop(key, step, saves)
    case .stopped(let key, let step): stopped(key, step, now)
    case .standby(let order): standBy(order, now)
    case .warmed(let job): job == standby ? say(.standbyReady(job: job)) : []
    case .end(let key, let reason, let jobOver): end(key, reason, jobOver, now)
    case .formed(let key, let step): formed(key, step, now)
    case .synchronized(let key, let step): synchronized(key, step, now)
    case .trained(let key): trained(key, now)
    case .peerLost(let key, let rank, let evidence): peerLost(key, rank, evidence, now)
    case .failed(let key, let failure): failed(key, failure, now)
    }
  }

  mutating func enter(_ phase: Phase, _ now: Duration) {
    self.phase = phase
    phaseSince = now
  }

  mutating func stale(_ what: String, _ key: GenerationKey) -> [MemberEffect] {
    staleCount += 1
    var place = "idle"
    if let assignment { place = "in \(assignment.key), \(String(describing: phase))" }
    return [.log(.debug, "dropped \(what) of \(key): this worker is \(place)")]
  }

  /// Statements are made only to a coordinator that knows this worker; `restate` makes up for the others.
  func say(_ message: MemberMessage) -> [MemberEffect] {
    link == .welcomed ? [.send(message)] : []
  }

  /// What the coordinator may have missed while the connection was down.
  ///
  /// It takes every statement any number of times.
  func restate() -> [MemberEffect] {
    guard let key else { return [] }
    return switch phase {
    case .positioned(let step): [.send(.position(key, step: step))]
    case .ready(let step): [.send(.ready(key, step: step))]
    case .stopped(let step): [.send(.stopped(key, step: step))]
    case .peerLost(let rank, let evidence): [.send(.peerLost(key, rank: rank, evidence: evidence))]
    case .failed(let failure): [.send(.failed(key, failure))]
    case .idle, .forming, .synchronizing, .training, .trained, .interrupted: []
    }
  }
}
