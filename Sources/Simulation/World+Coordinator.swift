// The coordinator's shell: events in, effects out, everything to persist first. Counterpart of CoordinatorCore.
import Coordinator
import RunStore
import Worker

extension World {
  func startCoordinator() {
    guard coordinator == nil else { return }
    life += 1
    var limits = JobBoard.Limits()
    limits.heartbeat = .milliseconds(250)
    let process = CoordinatorProcess(board: JobBoard(limits: limits))
    coordinator = process
    judge.coordinatorStarted(disk.store, world: self)
    // Checkpoints on disk count, whatever the store says; they are made durable first.
    if bug != .renameBeforeSync { disk.synchronize() }
    for job in disk.store.jobs {
      let standing = (disk.checkpoints[job.id] ?? []).map(\.record)
      let known = disk.store.checkpoints[job.id] ?? []
      write(JobBoard.reconcile(job.id, known: known, standing: standing))
    }
    let snapshot = disk.store.snapshot
    var settings: [JobID: JobSettings] = [:]
    for job in snapshot.jobs { settings[job.id] = Int(job.spec).map { jobPlans[$0].settings } }
    trace("coordinator \(life) starts with \(snapshot.jobs.count) jobs")
    carryOut(process.board.restore(snapshot, settings: settings, at: coordinatorTime))
    after(100_000, .coordinatorTick(life: life))
  }

  /// The coordinator dies; without power, what its disk had not taken is gone.
  func killCoordinator(losesPower: Bool, isFault: Bool = true) {
    guard coordinator != nil else { return }
    if isFault { counts.coordinatorKills += 1 }
    trace("coordinator \(life) dies\(losesPower ? " and loses power" : "")")
    coordinator = nil
    crash = nil
    unwritten = []
    if losesPower { disk.losePower(&dice, torn: bug == .renameBeforeSync) }
    for process in processes where process.isAlive {
      if let connection = process.connection { cut(connection, worker: dice.span(mean: 5_000), coordinator: nil) }
    }
    judge.checkCheckpoints(of: disk, world: self)
    after(dice.span(mean: plan.coordinatorRestart), .startCoordinator)
  }

  func coordinatorTicks() {
    dismissRevoked()
    decide(.tick)
    after(100_000, .coordinatorTick(life: life))
    if bug == .forgetfulStore, dice.chance(perMille: 30) { unwritten = [] }
  }

  /// Has the owners of revoked keys out of whatever they take part in; from then on nobody hears them.
  private func dismissRevoked() {
    for slot in slots {
      guard let process = slot.process.map({ processes[$0] }), process.isRevoked, let connection = process.connection,
        !connections[connection].isDismissed,
        !connections[connection].isCut, connections[connection].life == life
      else { continue }
      connections[connection].isDismissed = true
      let isKnown = coordinator?.board.worker(on: ConnectionID(UInt64(connection))) != nil
      if bug != .revokedStays { decide(.revoked(ConnectionID(UInt64(connection)), key: name(process))) }
      guard coordinator != nil else { return }
      judge.dismissed(process, isKnown: isKnown, world: self)
    }
  }

  /// What the coordinator answers to everything on a connection whose key was revoked.
  func refuse(_ connection: Int) {
    send(.order(.refused(reason: "the key was revoked", remedy: "enroll a new one", exitCode: 77)), on: connection)
  }

  /// Lets the state machine decide, and carries out what it says.
  func decide(_ event: Event) {
    guard let coordinator else { return }
    carryOut(coordinator.board.step(event, at: coordinatorTime))
  }

  func carryOut(_ effects: [Effect]) {
    guard !effects.isEmpty else { return }
    judge.decided(effects, world: self)
    var changes: [StoreChange] = []
    for effect in effects { if case .persist(let change) = effect { changes.append(change) } }
    if changes.isEmpty { return effects.forEach(carryOut) }
    var point = crash
    crash = nil
    if bug == .sendBeforeCommit, let planned = point, case .beforeCommit = planned {
      effects.forEach(carryOut)
      return killCoordinator(losesPower: false)
    }
    if case .beforeCommit = point { return killCoordinator(losesPower: false) }
    guard write(changes) else { return killCoordinator(losesPower: false, isFault: false) }
    if case .afterCommit = point { return killCoordinator(losesPower: false) }
    for effect in effects {
      carryOut(effect)
      if case .betweenMessages = point, dice.chance(perMille: 300) {
        point = nil
        return killCoordinator(losesPower: false)
      }
    }
  }

  /// Writes a decision; false when the disk is full, which ends the coordinator.
  @discardableResult
  private func write(_ changes: [StoreChange]) -> Bool {
    guard !changes.isEmpty else { return true }
    var changes = changes
    if bug == .intentDropped { changes.removeAll { if case .intent = $0 { true } else { false } } }
    if disk.isFull, dice.chance(perMille: 20) {
      trace("the store cannot be written")
      return false
    }
    judge.persisted(changes, world: self)
    do {
      if bug == .forgetfulStore {
        // Written when the next decision is; what is pending dies with the coordinator.
        try disk.store.apply(unwritten)
        unwritten = changes
      } else {
        try disk.store.apply(changes)
      }
    } catch {
      violated("S5", "the store cannot hold the decision: \(error.text)")
    }
    return true
  }

  private func carryOut(_ effect: Effect) {
    switch effect {
    case .persist: break
    case .send(let connection, let order):
      if case .start = order, bug == .lostWakeUp, dice.chance(perMille: 100) { return }
      judge.reveals(order, world: self)
      if case .sync(let stamp, let step, let origin) = order {
        judge.synchronizes(stamp, step: step, origin, world: self)
      }
      send(.order(bug == .wrongSource ? order.fromRankZero : order), on: Int(connection.rawValue))
    case .answer(let request, let answer):
      judge.reveals(answer, to: clients[Int(request.rawValue)], world: self)
      tellClient(Int(request.rawValue), answer)
    case .prepareDataset(let job): after(dice.span(mean: 2_000_000), .dataset(life: life, job))
    case .verifyCheckpoints(let job):
      let listed = disk.store.checkpoints[job]?.last { disk.entry(job, step: $0.step)?.isWhole == true }
      desk(.verify(job, listed: listed), taking: 300_000)
    case .log(let job, let severity, let text):
      if tracer != nil { trace("coordinator: \(job.map { "\($0): " } ?? "")\(text)") }
      judge.logged(job, severity, text, world: self)
    case .changed: break
    }
  }

  /// A statement of a worker arrives.
  func received(_ event: Event, on connection: Int) {
    var event = event
    if bug == .staleQuorum, let coordinator, let stamp = event.stamp,
      let current = coordinator.board.record(of: stamp.job)?.generation
    {
      event = event.moved(to: ConnectionID(UInt64(connection)), generation: current) ?? event
    }
    if bug == .statusTimeout, case .pulse = event, dice.chance(perMille: 2) {
      connections[connection].isCut = true
      after(1_000, .cutSeenByWorker(connection: connection))
      return lostConnection(connection)
    }
    if tracer != nil { note(event, on: connection) }
    decide(event)
  }

  private func note(_ event: Event, on connection: Int) {
    if case .pulse = event { return }
    trace("coordinator <- \(name(processes[connections[connection].process])): \(event)".prefix(400).description)
  }

  /// A request of a worker arrives.
  func serve(_ request: Request, _ number: UInt64, on connection: Int) {
    guard let coordinator else { return }
    let from = ConnectionID(UInt64(connection))
    func reply(_ reply: Reply) { send(.reply(number: number, reply), on: connection) }
    switch request {
    case .fetchPiece:
      decide(.transferred(from))
      reply(.acknowledged)
    case .checkpointBegin(let offer):
      if let refusal = refusal(of: offer.stamp, coordinator) { return reply(.refused(reason: refusal)) }
      if bug == .pruneTooEarly { disk.checkpoints[offer.stamp.job] = [] }
      desk(.begin(connection: connection, request: number, offer), taking: 5_000)
    case .filePiece(let job):
      decide(.transferred(from))
      guard coordinator.uploads[job]?.connection == connection else {
        return reply(.refused(reason: "no checkpoint was begun on this connection"))
      }
      reply(.acknowledged)
    case .checkpointCommit(let stamp, let step):
      if let refusal = refusal(of: stamp, coordinator) { return reply(.refused(reason: refusal)) }
      judge.admitted(stamp, world: self)
      desk(.commit(connection: connection, request: number, stamp, step: step), taking: 200_000)
    case .report(let report):
      let event: Event
      let job: JobID
      switch report {
      case .epoch(let stamp, let record):
        job = stamp.job
        event = .epoch(from, stamp, record)
      case .finished(let stamp, let step, let hash):
        job = stamp.job
        event = .finished(from, stamp, step: step, sha256: String(hash, radix: 16), json: "{}")
      }
      trace("coordinator <- report \(event)")
      let (effects, refusal) = coordinator.board.step(event, of: job, at: coordinatorTime)
      carryOut(effects)
      if self.coordinator != nil { reply(refusal.map { .refused(reason: $0) } ?? .acknowledged) }
    case .leave(let reason):
      decide(.leave(from, reason: reason))
      if self.coordinator != nil { reply(.acknowledged) }
    }
  }

  private func refusal(of stamp: Stamp, _ coordinator: CoordinatorProcess) -> String? {
    bug == .checkpointWithoutFence ? nil : coordinator.board.refusalOfCheckpoint(stamp)
  }
}

extension Event {
  /// The generation that a member's statement is about.
  var stamp: Stamp? {
    switch self {
    case .position(_, let stamp, _, _), .ready(_, let stamp, _), .stepped(_, let stamp, _),
      .stopped(_, let stamp, _):
      stamp
    default: nil
    }
  }
}
