// The coordinator's mind: jobs, workers and generations, as one pure state machine. It is told what happened and when,
// and returns what is to be done; it owns no socket, file, clock or lock, so a test or a simulation runs it as it is.
//
// The promises it keeps (design, 7):
// - what reveals a decision leaves after the decision is persisted: `step` returns all `.persist` effects first;
// - a generation's number is never reused, and messages of another generation are dropped and counted;
// - only positive evidence acts: a closed connection, silence or standstill measured by this machine's own clock; time in
//   which the coordinator itself did not run counts for nobody;
// - every restart is paid from a budget (RestartBudget).
//
// JobBoard+Workers: who is there. JobBoard+Jobs: submission to end. JobBoard+Control: what people ask of jobs.
// JobBoard+Scheduling: who works on what. JobBoard+Generations: one generation. JobBoard+Boundary: an end announced ahead.
// JobBoard+Restart: after the coordinator itself was away. JobBoard+Reasons: why.
import RunStore

/// The state machine of one coordinator.
package struct JobBoard: Sendable {
  /// The time limits that are not part of a job's spec.
  package struct Limits: Sendable, Hashable {
    /// How often workers give a sign of life.
    package var heartbeat: Duration = .milliseconds(250)
    /// A worker silent for this long is lost.
    package var dead: Duration = .seconds(4)
    /// How long a worker that a peer has lost may take to give a sign of life.
    package var accused: Duration = .seconds(1)
    /// How long members may take to come back to a coordinator that was restarted.
    package var recovery: Duration = .seconds(5)
    /// A gap between two steps of this machine beyond which the coordinator itself was away.
    ///
    /// Connections that broke in it have `recovery` to come back.
    package var pause: Duration = .seconds(1)
    /// How old the newest step that is known may be: ends are announced that much ahead.
    package var reportLag: Duration = .milliseconds(300)
    /// How long members may take to stop after the first of them has.
    package var stopping: Duration = .seconds(2)
    /// How long a job may take to store a checkpoint before it pauses, ends or yields without one.
    package var saving: Duration = .seconds(20)
    /// A generation lasts at least this long before its job gives workers to another, or shards move to faster workers.
    package var settling: Duration = .seconds(5)

    package init() {}
  }

  struct Worker: Sendable {
    enum Status: Sendable, Hashable {
      /// Ready for work since.
      case idle(since: Instant)
      /// Gets the data of a job that goes on meanwhile; idle since.
      case standby(JobID, since: Instant, isReady: Bool)
      /// Belongs to a job: a member of its generation, or a survivor that waits for the next.
      case assigned(JobID)
      /// Silent, with its connection still open; the stamp is what it worked on. Back as soon as it is heard.
      case silent(Stamp?)
      /// A member whose connection broke while the coordinator was restarted or away, not back yet.
      case absent
      /// On its way out, or told to go.
      case leaving
    }

    var record: WorkerRecord
    var connection: ConnectionID?
    var status: Status
    var lastHeard: Instant
    var pulse = Pulse()
    /// Told to leave: gets no more work.
    var isDraining = false
  }

  struct Job: Sendable {
    enum Stage: Sendable {
      case preparing(String)
      case waiting(Interlude)
      case recovering(Recovery)
      case generation(Membership)
      /// Resumed by a person only; the reason tells where it stands.
      case paused(String)
      case over
    }

    /// The job stores a checkpoint, then lets go of its workers.
    struct Stopping: Sendable {
      enum Aim: Sendable { case pause, cancel, yield }
      var aim: Aim
      /// Then it lets go without.
      var deadline: Instant
    }

    /// Between two generations.
    struct Interlude: Sendable {
      /// Members of the last generation that are still there, in rank order.
      var survivors: [WorkerID] = []
      /// The next generation does not begin before.
      var notBefore: Instant?
      /// Survivors that a peer has lost, until they are heard; with the deadline and the evidence.
      var suspects: [WorkerID: (deadline: Instant, evidence: String)] = [:]
      /// Idle workers set aside for this job while it waits for more.
      var candidates: [WorkerID] = []
      /// Why the last generation ended, empty before the first.
      var cause = ""
    }

    /// After a restart of the coordinator, while the generation goes on without it.
    struct Recovery: Sendable {
      var record: GenerationRecord
      var returned: [WorkerID: UInt64] = [:]
      var deadline: Instant
    }

    var record: JobRecord
    let settings: JobSettings
    var stage: Stage
    var checkpoints: [CheckpointRecord] = []
    /// Steps of damaged checkpoints that have been told of.
    var knownDamage: Set<UInt64> = []
    /// Incarnations that were ever members: only they can hold a state of this job.
    var alumni: Set<String> = []
    var budget = RestartBudget()
    /// How often peers lost each worker, though it was alive, since the last committed step.
    var accusations: [WorkerID: Int] = [:]
    var clock = StepClock()
    var stopping: Stopping?
    /// Time per shard and step of each worker that has worked for the job, as it measured it last.
    var shardTimes: [WorkerID: Duration] = [:]
    var replanning = ReplanPolicy()
    /// The members that `replanning` speaks of.
    var lastMembers: Set<WorkerID> = []
    /// When and where the last generation stopped stepping, until the next starts.
    var heldUp: (since: Instant, generation: UInt64)?
    /// The newest step that is known to be committed by somebody who is still there, or in the checkpoint.
    var committedStep: UInt64 = 0

    var newestCheckpoint: CheckpointRecord? { checkpoints.last }
    var patience: Duration { max(settings.hang, (clock.median ?? .zero) * 3) }
  }

  package let limits: Limits
  let programVersion: String
  var jobs = Table<JobID, Job>()
  /// Those that are not over, in order of submission.
  var openJobs: [JobID] = []
  var workers = Table<WorkerID, Worker>()
  var connections: [ConnectionID: WorkerID] = [:]
  var lastJob: UInt64 = 0
  var lastWorker: UInt64 = 0
  /// Messages of another generation, from strangers, or in the wrong phase, dropped so far.
  package internal(set) var staleCount = 0

  private var pauses: Duration = .zero
  private var lastStep: Instant?
  /// When the coordinator last noticed that it had been away, by its local clock.
  private var backSince: Instant?
  private var effects: [Effect] = []
  /// Whether the states and reasons of all jobs are up to date.
  var isSettled = true

  /// A coordinator without history.
  ///
  /// - Parameter programVersion: workers of another version are refused, because they might compute other bits; empty
  ///   admits all.
  package init(programVersion: String = "", limits: Limits = Limits()) {
    self.programVersion = programVersion
    self.limits = limits
  }

  /// Takes in one event and decides.
  ///
  /// - Parameters:
  ///   - event: what happened; `.tick` at least every 100 ms, because nothing else makes time pass.
  ///   - clock: when, never earlier than in the call before.
  /// - Returns: what to do, everything to persist first. Persist all of it in one transaction before the rest.
  package mutating func step(_ event: Event, at clock: Instant) -> [Effect] {
    if let lastStep, clock - lastStep > limits.pause {
      // We were away (stopped, swapped out, a slow disk): silence in this time is no evidence against anybody.
      pauses += clock - lastStep
      backSince = local(clock)
    }
    lastStep = clock
    let now = local(clock)
    if case .pulse(let connection, let pulse) = event, let row = row(ofRoutinePulse: connection) {
      workers[at: row].lastHeard = now
      note(pulse, ofRow: row, at: now)
      return takeEffects()
    }
    handle(event, at: now)
    if case .tick = event {
      watch(at: now)
      schedule(at: now)
      // Time alone changes no reason.
      if effects.isEmpty, isSettled { return [] }
    } else {
      schedule(at: now)
    }
    isSettled = true
    noteStates(at: now)
    return takeEffects()
  }

  private mutating func takeEffects() -> [Effect] {
    defer { effects = [] }
    if effects.isEmpty { return [] }
    return effects.filter(\.isPersist) + effects.filter { !$0.isPersist }
  }

  /// The row of the worker on this connection, if a sign of life changes nobody's standing.
  ///
  /// Most events by far are of this kind, so they ask for no new plan; the next tick makes one.
  private func row(ofRoutinePulse connection: ConnectionID) -> Int? {
    guard let id = connections[connection], let row = workers.index(of: id) else { return nil }
    switch workers[at: row].status {
    case .idle, .standby: return row
    case .assigned(let job):
      guard let job = jobs.index(of: job), case .waiting(let interlude) = jobs[at: job].stage else { return row }
      return interlude.suspects[id] == nil ? row : nil
    case .silent, .absent, .leaving: return nil
    }
  }

  /// The clock without the time in which the coordinator did not run.
  func local(_ clock: Instant) -> Instant { clock - pauses }

  /// Whether peers may have given up this coordinator because it did not run, and are about to connect anew.
  func wasAway(at now: Instant) -> Bool { backSince.map { now - $0 < limits.recovery } ?? false }

  private mutating func handle(_ event: Event, at now: Instant) {
    switch event {
    case .hello(let connection, let introduction): hello(connection, introduction, at: now)
    case .pulse(let connection, let pulse): self.pulse(connection, pulse, at: now)
    case .transferred(let connection): transferred(connection, at: now)
    case .position(let connection, let stamp, let hasState, let step):
      position(connection, stamp, hasState ? .state(step: step) : .empty, at: now)
    case .ready(let connection, let stamp, let step): ready(connection, stamp, step: step, at: now)
    case .peerLost(let connection, let stamp, let rank, let evidence):
      peerLost(connection, stamp, accused: rank, evidence: evidence, at: now)
    case .stopped(let connection, let stamp, let step): stopped(connection, stamp, step: step, at: now)
    case .standbyReady(let connection, let job): standbyReady(connection, job, at: now)
    case .stepped(let connection, let stamp, let step): stepped(connection, stamp, step: step, at: now)
    case .epoch(let connection, let stamp, let record): epoch(connection, stamp, record, at: now)
    case .leave(let connection, let reason): leave(connection, reason: reason, at: now)
    case .finished(let connection, let stamp, let step, let sha256, let json):
      finished(connection, stamp, step: step, sha256: sha256, json: json, at: now)
    case .failed(let connection, let stamp, let message, let hint):
      failed(connection, stamp, message: message, hint: hint, at: now)
    case .disconnected(let connection): disconnected(connection, at: now)
    case .revoked(let connection, let key): revoked(connection, key: key, at: now)
    case .submit(let request, let record, let settings, let checkpoint):
      submit(request, record, settings, checkpoint)
    case .control(let request, let job, let verb): control(request, job, verb, at: now)
    case .retry(let request, let job, let settings): retry(request, job, settings)
    case .drain(let request, let name): drain(request, name)
    case .datasetProgress(let job, let text): datasetProgress(job, text)
    case .datasetReady(let job, let name): datasetReady(job, name)
    case .datasetFailed(let job, let message): datasetFailed(job, message, at: now)
    case .checkpointStored(let record, let pruned): checkpointStored(record, pruned: pruned)
    case .checkpointsVerified(let job, let newest, let damaged):
      checkpointsVerified(job, newest: newest, damaged: damaged, at: now)
    case .tick: break
    }
  }

  /// Silence, standstill, deadlines.
  private mutating func watch(at now: Instant) {
    if workers.indices.contains(where: { now - workers[at: $0].lastHeard > limits.dead }) { watchSilence(at: now) }
    for id in openJobs {
      guard let row = jobs.index(of: id) else { continue }
      switch jobs[at: row].stage {
      case .waiting(let interlude) where !interlude.suspects.isEmpty: watchSuspects(of: id, at: now)
      case .generation(let membership) where membership.isStill(for: jobs[at: row].settings.hang, at: now):
        watchProgress(of: id, at: now)
      case .recovering: watchRecovery(of: id, at: now)
      default: break
      }
      // No job ever leaves the table, so the row is the same.
      if case .generation(let membership) = jobs[at: row].stage, membership.boundary?.firstStopped != nil {
        watchBoundary(of: id, at: now)
      }
      if jobs[at: row].stopping != nil { watchStopping(of: id, at: now) }
    }
  }

  private mutating func watchSilence(at now: Instant) {
    for (id, worker) in zip(workers.keys, workers.values) {
      watchAbsent(id, worker, at: now)
      guard worker.connection != nil, now - worker.lastHeard > limits.dead else { continue }
      if case .silent = worker.status { continue }
      if case .leaving = worker.status { continue }
      lose(id, evidence: "silent for \((now - worker.lastHeard).spoken)", at: now)
    }
  }

  func stage(of id: JobID) -> Job.Stage? { jobs.index(of: id).map { jobs[at: $0].stage } }

  func status(of id: WorkerID) -> Worker.Status? { workers.index(of: id).map { workers[at: $0].status } }

  mutating func emit(_ effect: Effect) { effects.append(effect) }

  mutating func persist(_ change: StoreChange) { effects.append(.persist(change)) }

  mutating func log(_ job: JobID?, _ severity: Effect.Severity, _ text: String) {
    effects.append(.log(job, severity, text))
  }

  mutating func send(_ order: Order, to worker: WorkerID) {
    guard let row = workers.index(of: worker), let connection = workers[at: row].connection else { return }
    effects.append(.send(connection, order))
  }
}

extension Effect {
  var isPersist: Bool { if case .persist = self { true } else { false } }
}
