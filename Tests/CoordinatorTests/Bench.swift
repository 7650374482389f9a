// A job board on a bench: events by hand or by scripted workers, a clock that only the test moves, everything recorded.
import Coordinator
import RunStore

/// What a scripted worker does: it holds a state, answers every order at once and commits a step every `stepTime`.
struct ScriptedWorker {
  var introduction: Introduction
  var stepTime: Duration = .milliseconds(200)
  var totalSteps: UInt64 = .max
  var isFrozen = false
  /// Control thread alive, training thread stuck: gives signs of life, does nothing else.
  var hangs = false
  var briefing: Briefing?
  var step: UInt64?
  var job: JobID?
  var trainingSince: Instant?
  var lastPulse = Instant(.zero)
  var exitCode: Int32?
  /// Where it was told to stop.
  var stop: (step: UInt64, saves: Bool)?
  var isSavingInVain = false
  /// Time per shard; decides how long a step takes for everybody when it is set.
  var shardTime: Duration?
  /// How long the data takes to arrive when it stands by.
  var loadTime: Duration = .zero
  var loading: (job: JobID, until: Instant)?
  var isDrained = false
  /// The generation in which it has reported the end.
  var finished: Stamp?
}

struct Bench {
  var board: JobBoard
  var now = Instant(.zero)
  /// Everything that was persisted, in order.
  var persisted: [StoreChange] = []
  /// Orders by connection, in order.
  var orders: [ConnectionID: [Order]] = [:]
  var answers: [RequestID: Answer] = [:]
  var logs: [String] = []
  var preparing: [JobID] = []
  var verifying: [JobID] = []
  var scripted: [ConnectionID: ScriptedWorker] = [:]
  /// Steps after which rank 0 reports the end.
  var finishAt: UInt64 = .max
  /// Whether the disk takes checkpoints.
  var storesCheckpoints = true
  /// Whether checkpoints are read through by themselves, within a tick; else the test answers.
  var verifiesCheckpoints = false
  private var unverified: [JobID] = []
  private var newestStored: [JobID: CheckpointRecord] = [:]
  /// Effects of each decision, checked by `InvariantTests`.
  var decisions: [[Effect]] = []

  init(programVersion: String = "") { board = JobBoard(programVersion: programVersion) }

  // MARK: Time and events

  mutating func send(_ event: Event) {
    let effects = board.step(event, at: now)
    carryOut(effects)
  }

  mutating func carryOut(_ effects: [Effect]) {
    decisions.append(effects)
    for effect in effects {
      switch effect {
      case .persist(let change): persisted.append(change)
      case .send(let connection, let order):
        orders[connection, default: []].append(order)
        obey(order, connection)
      case .answer(let request, let answer): answers[request] = answer
      case .prepareDataset(let job): preparing.append(job)
      case .verifyCheckpoints(let job):
        verifying.append(job)
        if verifiesCheckpoints { unverified.append(job) }
      case .log(_, _, let text): logs.append(text)
      case .changed: break
      }
    }
  }

  /// Lets time pass in ticks of 50 ms; scripted workers live meanwhile.
  mutating func wait(_ duration: Duration) {
    let end = now + duration
    while now < end {
      now = min(now + .milliseconds(50), end)
      for connection in scripted.keys.sorted() { live(connection) }
      deliver()
      while !unverified.isEmpty {
        let job = unverified.removeFirst()
        send(.checkpointsVerified(job, newest: newestStored[job], damaged: []))
      }
      send(.tick)
      deliver()
    }
  }

  // MARK: Jobs and workers

  /// Submits a job whose data set is ready.
  @discardableResult
  mutating func job(_ settings: JobSettings = JobSettings(), key: String = "") -> JobID {
    let request = RequestID(UInt64(answers.count + 1))
    send(.submit(request, JobRecord(id: JobID(0), name: "strip", spec: "spec", idempotencyKey: key), settings))
    guard case .submitted(let id, _) = answers[request] else { fatalError("no answer to the submission") }
    send(.datasetReady(id, "strip"))
    return id
  }

  static func introduction(_ number: UInt64, stamp: Stamp? = nil, step: UInt64 = 0, version: String = "")
    -> Introduction
  {
    Introduction(
      worker: WorkerRecord(
        id: WorkerID(0), incarnation: "i\(number)", name: "host-\(number)", version: version), stamp: stamp,
      committedStep: step)
  }

  /// A worker by hand, on its first connection or (with the number that it had on that) on a later one.
  mutating func hello(_ number: UInt64, introduction: UInt64? = nil, stamp: Stamp? = nil, step: UInt64 = 0) {
    send(.hello(ConnectionID(number), Self.introduction(introduction ?? number, stamp: stamp, step: step)))
  }

  /// A worker that does what it is told.
  mutating func start(
    _ number: UInt64, incarnation: UInt64? = nil, loadTime: Duration = .zero, stepTime: Duration = .milliseconds(200)
  ) {
    var worker = ScriptedWorker(introduction: Self.introduction(incarnation ?? number), lastPulse: now)
    worker.loadTime = loadTime
    worker.stepTime = stepTime
    let introduction = worker.introduction
    scripted[ConnectionID(number)] = worker
    send(.hello(ConnectionID(number), introduction))
    deliver()
  }

  /// SIGKILL: the connection closes at once.
  mutating func kill(_ number: UInt64) {
    scripted[ConnectionID(number)] = nil
    send(.disconnected(ConnectionID(number)))
    deliver()
  }

  func reason(_ job: JobID) -> String { board.reason(of: job, at: now) }

  func lastOrder(_ number: UInt64) -> Order? { orders[ConnectionID(number)]?.last }

  var generations: [GenerationRecord] {
    persisted.compactMap { if case .generationBegan(let record) = $0 { record } else { nil } }
  }

  func states(of job: JobID) -> [JobState] {
    persisted.compactMap { if case .state(job, let state, _) = $0 { state } else { nil } }
  }

  // MARK: Scripted workers

  private var mailboxes: [ConnectionID: [Order]] = [:]

  private mutating func obey(_ order: Order, _ connection: ConnectionID) {
    if scripted[connection] != nil { mailboxes[connection, default: []].append(order) }
  }

  /// Hands the orders sent so far to the scripted workers, until nobody has anything to say.
  private mutating func deliver() {
    while let connection = mailboxes.keys.sorted().first(where: {
      mailboxes[$0]?.isEmpty == false && scripted[$0]?.isFrozen == false
    }) {
      let order = mailboxes[connection]?.removeFirst()
      if let order { take(order, connection) }
    }
    for connection in mailboxes.keys where scripted[connection] == nil { mailboxes[connection] = nil }
  }

  private mutating func take(_ order: Order, _ connection: ConnectionID) {
    guard var worker = scripted[connection] else { return }
    var said: Event?
    switch order {
    case .welcome: break
    case .refused(_, _, let exitCode):
      worker.exitCode = exitCode
      scripted[connection] = nil
      send(.disconnected(connection))
      return
    case .begin(let briefing):
      worker.briefing = briefing
      worker.trainingSince = nil
      worker.stop = nil
      worker.loading = nil
      if worker.job != briefing.stamp.job { worker.step = nil }
      worker.job = briefing.stamp.job
      said = .position(
        connection, briefing.stamp, hasState: worker.step != nil, committedStep: worker.step ?? 0)
    case .sync(let stamp, let step, _) where stamp == worker.briefing?.stamp:
      worker.step = step
      said = .ready(connection, stamp, step: step)
    case .standby(let job, _, _): worker.loading = (job, now + worker.loadTime)
    case .stop(let stamp, let step, let saves) where stamp == worker.briefing?.stamp: worker.stop = (step, saves)
    case .drain:
      worker.isDrained = true
      said = .leave(connection, reason: "drained")
    case .start(let stamp) where stamp == worker.briefing?.stamp: worker.trainingSince = now
    case .end(let stamp, _, let jobOver) where stamp == worker.briefing?.stamp:
      worker.trainingSince = nil
      worker.briefing = nil
      if jobOver { worker.step = nil }
    case .sync, .start, .stop, .end: break
    }
    scripted[connection] = worker
    if let said, !worker.hangs { send(said) }
  }

  private mutating func live(_ connection: ConnectionID) {
    guard var worker = scripted[connection], !worker.isFrozen else { return }
    var finished: Stamp?
    if let loading = worker.loading, now >= loading.until {
      worker.loading = nil
      scripted[connection] = worker
      send(.standbyReady(connection, loading.job))
      worker = scripted[connection] ?? worker
    }
    if let stop = worker.stop, let briefing = worker.briefing, let step = worker.step, step >= stop.step,
      worker.trainingSince != nil, !worker.hangs
    {
      worker.trainingSince = nil
      worker.stop = nil
      worker.isSavingInVain = stop.saves && briefing.rank == 0 && !storesCheckpoints
      scripted[connection] = worker
      if stop.saves, briefing.rank == 0, storesCheckpoints {
        let name = "step-\(step)"
        let record = CheckpointRecord(
          job: briefing.stamp.job, step: step, epoch: 1, generation: briefing.stamp.generation, name: name,
          isFinal: false)
        newestStored[record.job] = record
        send(.checkpointStored(record, pruned: []))
      }
      if !stop.saves || briefing.rank != 0 || storesCheckpoints {
        send(.stopped(connection, briefing.stamp, step: step))
      }
      worker = scripted[connection] ?? worker
    }
    // All members step together: one that hangs or is gone holds up the others.
    if let since = worker.trainingSince, let briefing = worker.briefing, !worker.hangs, everybodySteps(briefing),
      now - since >= stepTime(briefing, worker), let step = worker.step, step < finishAt
    {
      worker.step = step + 1
      worker.trainingSince = now
    }
    // Also when the generation starts at the last step: whoever was to say so may be gone.
    if let briefing = worker.briefing, briefing.rank == 0, worker.trainingSince != nil, worker.step == finishAt,
      worker.finished != briefing.stamp, !worker.hangs
    {
      worker.finished = briefing.stamp
      finished = briefing.stamp
    }
    let isDue = now - worker.lastPulse >= .milliseconds(250)
    if isDue { worker.lastPulse = now }
    scripted[connection] = worker
    let isSaving = worker.isSavingInVain
    let phase = isSaving ? "saving" : worker.trainingSince != nil ? "training" : "idle"
    if isDue {
      send(
        .pulse(
          connection,
          Pulse(
            stamp: worker.briefing?.stamp, committedStep: worker.step ?? 0, phase: phase, shardTime: worker.shardTime)
        ))
    }
    if let finished {
      send(.finished(connection, finished, step: finishAt, sha256: "hash", json: "{}"))
    }
  }

  /// The slowest member sets the pace.
  private func stepTime(_ briefing: Briefing, _ worker: ScriptedWorker) -> Duration {
    guard worker.shardTime != nil else { return worker.stepTime }
    return briefing.members.compactMap { member in
      scripted.values.first { $0.introduction.worker.incarnation == member.worker.incarnation }?.shardTime.map {
        $0 * member.shards.count
      }
    }.max() ?? worker.stepTime
  }

  private func everybodySteps(_ briefing: Briefing) -> Bool {
    briefing.members.allSatisfy { member in
      scripted.values.contains {
        $0.introduction.worker.incarnation == member.worker.incarnation && $0.trainingSince != nil && !$0.isFrozen
          && !$0.hangs && $0.briefing?.stamp == briefing.stamp
      }
    }
  }
}
