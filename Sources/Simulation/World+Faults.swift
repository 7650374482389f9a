// Everything that goes wrong: one fault after the other until they stop, then everything is mended and the jobs must end.
import Coordinator
import RunStore
import Worker

/// What may strike.
enum Fault: String, CaseIterable {
  case killWorker, powerOffWorker, killCoordinator, powerOffCoordinator, crashWhileDeciding, freezeWorker,
    freezeCoordinator, cutConnection, blockUpward, blockDownward, isolate, blockMesh, slowMachine, slowReader,
    jumpClock,
    fillDisk, rotCheckpoint, replay, signal, hang, revoke, stranger
}

extension World {
  /// Kills are two thirds of everything.
  private static let weights: [(fault: Fault, weight: Int)] = [
    (.killWorker, 56), (.powerOffWorker, 6), (.killCoordinator, 7), (.powerOffCoordinator, 1),
    (.crashWhileDeciding, 4), (.freezeWorker, 4), (.freezeCoordinator, 2), (.cutConnection, 4), (.blockUpward, 2),
    (.blockDownward, 2), (.isolate, 2), (.blockMesh, 2), (.slowMachine, 1), (.slowReader, 1), (.jumpClock, 1),
    (.fillDisk, 1), (.rotCheckpoint, 1), (.replay, 6), (.signal, 4), (.hang, 1),
    (.revoke, 2), (.stranger, 2),
  ]

  func strike() {
    guard !isHealed, !plan.isCalm else { return }
    after(dice.span(mean: plan.faultInterval), .fault)
    var number = dice.index(Self.weights.reduce(0) { $0 + $1.weight })
    var fault = Fault.killWorker
    for (candidate, weight) in Self.weights {
      fault = candidate
      if number < weight { break }
      number -= weight
    }
    if !plan.hasAllFaults, fault != .killCoordinator { fault = .killWorker }
    counts.faults += 1
    counts.faultKinds[fault.rawValue, default: 0] += 1
    trace("fault: \(fault.rawValue)")
    carryOut(fault)
  }

  private func carryOut(_ fault: Fault) {
    let slot = dice.index(slots.count)
    let process = slots[slot].process.map { processes[$0] }
    let span = dice.span(mean: 4_000_000)
    switch fault {
    case .killWorker, .powerOffWorker:
      guard let process else { return }
      counts.workerKills += 1
      end(process, losesPower: fault == .powerOffWorker)
    case .killCoordinator, .powerOffCoordinator:
      killCoordinator(losesPower: fault == .powerOffCoordinator)
    case .crashWhileDeciding: crash = [.beforeCommit, .afterCommit, .betweenMessages][dice.index(3)]
    case .freezeWorker: freeze(slot, for: span)
    case .freezeCoordinator: freezeCoordinator(for: span)
    case .cutConnection:
      guard let connection = process?.connection else { return }
      cut(connection, worker: dice.span(mean: 500_000), coordinator: dice.span(mean: 500_000))
    case .blockUpward: blockControl(slot, for: span, up: true, down: false)
    case .blockDownward: blockControl(slot, for: span, up: false, down: true)
    case .isolate:
      blockControl(slot, for: span, up: true, down: true)
      blockMesh(slot, for: span)
    case .blockMesh: blockMesh(slot, for: span)
    case .slowMachine: slots[slot].slowness = slots[slot].slowness == 1 ? 10 : 1
    case .slowReader:
      slots[slot].readDelay = slots[slot].readDelay == 0 ? span / 4 : 0
      trouble(slot, until: now + 60_000_000)
    case .jumpClock:
      if dice.chance(perMille: 300) {
        coordinatorClock.offset += 3_600_000_000
      } else {
        slots[slot].clockOffset += 3_600_000_000
      }
    case .fillDisk:
      disk.isFull = true
      after(5 * span, .diskFreed)
    case .rotCheckpoint: rot()
    case .replay: replay()
    case .signal: if let process { post(.signal(name: "SIGTERM"), to: process) }
    case .hang:
      guard let process, !process.isHung else { return }
      process.isHung = true
      process.hungSince = now
    case .revoke: process?.isRevoked = true
    case .stranger: intrude()
    }
  }

  private func trouble(_ slot: Int, until time: Int64) {
    slots[slot].troubledUntil = max(slots[slot].troubledUntil, time)
  }

  private func freeze(_ slot: Int, for span: Int64) {
    slots[slot].frozenUntil = max(slots[slot].frozenUntil, now + span)
    trouble(slot, until: slots[slot].frozenUntil)
    after(span, .thaw(slot: slot))
    if span > 3_000_000 { losesLinks(slot, after: 3_000_000) }
  }

  func thaw(_ slot: Int) {
    guard slots[slot].frozenUntil <= now, let process = slots[slot].process.map({ processes[$0] }) else { return }
    let deferred = process.deferred
    process.deferred = []
    for occurrence in deferred { queue.push(occurrence, at: now) }
  }

  private func freezeCoordinator(for span: Int64) {
    guard let coordinator, !coordinator.isFrozen else { return }
    coordinator.isFrozen = true
    coordinator.frozenSince = now
    after(span, .thawCoordinator)
  }

  func thawCoordinator() {
    guard let coordinator, coordinator.isFrozen else { return }
    coordinator.isFrozen = false
    if bug == .frozenClock {
      // A shell that makes up for missed ticks hides from the machine that it was away.
      for moment in stride(from: coordinator.frozenSince + 800_000, to: now, by: 800_000) {
        carryOut(coordinator.board.step(.tick, at: coordinatorTime(at: moment)))
      }
    }
    let deferred = coordinator.deferred
    coordinator.deferred = []
    for occurrence in deferred { queue.push(occurrence, at: now) }
  }

  /// While control messages do not get through, the connection may break as well.
  private func blockControl(_ slot: Int, for span: Int64, up: Bool, down: Bool) {
    if up { slots[slot].upBlockedUntil = max(slots[slot].upBlockedUntil, now + span) }
    if down { slots[slot].downBlockedUntil = max(slots[slot].downBlockedUntil, now + span) }
    trouble(slot, until: now + span)
    if dice.chance(perMille: 500), let connection = slots[slot].process.flatMap({ processes[$0].connection }) {
      after(span / 2, .cutSeenByWorker(connection: connection))
      cut(connection, worker: nil, coordinator: span + dice.span(mean: 1_000_000))
    }
  }

  private func blockMesh(_ slot: Int, for span: Int64) {
    slots[slot].meshBlockedUntil = max(slots[slot].meshBlockedUntil, now + span)
    if span > 3_000_000 { losesLinks(slot, after: 3_000_000) }
  }

  /// A silence longer than a link lives: both sides find it broken.
  private func losesLinks(_ slot: Int, after delay: Int64) {
    guard let process = slots[slot].process.map({ processes[$0] }), let run = process.run else { return }
    for (rank, peer) in run.peers.enumerated() where rank != run.assignment.rank {
      after(delay, .linkLost(process: peer, run.key, rank: run.assignment.rank))
      after(delay, .linkLost(process: process.serial, run.key, rank: rank))
    }
  }

  private func rot() {
    let entries = disk.checkpoints.values.flatMap { $0 }.filter { !$0.isRotten }
    guard let entry = entries.max(by: { ($0.record.job, $0.record.step) < ($1.record.job, $1.record.step) }) else {
      return
    }
    disk.change(entry.record.job, step: entry.record.step) {
      $0.isWhole = false
      $0.isRotten = true
    }
  }

  private func replay() {
    for old in oldFrames {
      if let process = slots[old.slot].process { after(0, .frame(to: process, from: old.sender, old.frame)) }
    }
    for old in oldStatements {
      guard let connection = slots[old.slot].process.flatMap({ processes[$0].connection }),
        let event = old.event.moved(to: ConnectionID(UInt64(connection)))
      else { continue }
      connections[connection].inFlight += 1
      after(0, .up(connection: connection, .event(event)))
    }
  }

  /// Faults stop: everything is mended, except for threads that hang, which the product has to find.
  func heal() {
    isHealed = true
    crash = nil
    disk.isFull = false
    trace("faults stop")
    for slot in slots.indices {
      slots[slot].slowness = 1
      slots[slot].readDelay = 0
      slots[slot].upBlockedUntil = min(now, slots[slot].upBlockedUntil)
      slots[slot].downBlockedUntil = min(now, slots[slot].downBlockedUntil)
      slots[slot].meshBlockedUntil = min(now, slots[slot].meshBlockedUntil)
      slots[slot].frozenUntil = min(now, slots[slot].frozenUntil)
      thaw(slot)
      after(0, .startWorker(slot: slot))
    }
    thawCoordinator()
    after(0, .startCoordinator)
    judge.faultsStopped(world: self)
  }

  /// Looks after the time.
  func watch() {
    after(10_000_000, .watch)
    counts.jobMicroseconds += 10_000_000 * Int64(judge.runningCount)
    judge.watch(world: self)
    if isHealed { for job in judge.pausedJobs { clientArrives(0, .control(job, .resume)) } }
    // A thread that hangs where no job needs it is nobody's to find.
    for process in processes where process.isAlive && process.isHung && isHealed && process.run == nil {
      end(process, losesPower: false)
    }
  }
}
