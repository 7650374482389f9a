// A worker's session: what the machine decides is carried out, in order. Counterpart of WorkerSession.
import Coordinator
import Logging
import RunStore
import Worker

extension World {
  /// A new process on a machine.
  func startWorker(_ slot: Int) {
    guard slots[slot].process == nil else { return }
    var limits = MemberMachine.Limits()
    limits.coordinatorTimeout = .seconds(60)
    let process = WorkerProcess(
      serial: processes.count, slot: slot, machine: MemberMachine(limits: limits, at: time(on: slot)))
    processes.append(process)
    slots[slot].process = process.serial
    trace("\(name(process)) starts")
    after(dice.span(mean: 20_000), .connect(process: process.serial))
    after(250_000, .memberTick(process: process.serial))
  }

  func memberTicks(_ process: WorkerProcess) {
    after(250_000, .memberTick(process: process.serial))
    tell(.tick, to: process)
  }

  /// Lets the machine decide, and carries out what it says.
  func tell(_ event: MemberEvent, to process: WorkerProcess) {
    for effect in process.machine.step(event, at: time(on: process.slot)) {
      carryOut(effect, process)
      guard process.isAlive else { return }
    }
  }

  /// An event from another thread of the worker: it is not handled inside the effect that caused it.
  func post(_ event: MemberEvent, to process: WorkerProcess, after delay: Int64 = 0) {
    after(delay, .event(process: process.serial, event))
  }

  private func carryOut(_ effect: MemberEffect, _ process: WorkerProcess) {
    switch effect {
    case .send(.leave(let reason)):
      ask(.leave(reason: reason), process, \.leave)
    case .send(let message): say(message, process)
    case .interrupt: interrupt(process)
    case .form(let assignment):
      process.logJob = assignment.key.job
      form(assignment, process)
    case .synchronize(let key, let target): synchronize(key, target, process)
    case .train(let key): train(key, process)
    case .stop(let key, let step, let saves):
      if process.run?.key == key { process.run?.requestStop(at: step, saves: saves) }
    case .standBy(let order):
      process.logJob = order.job
      standBy(order, process)
    case .saveAndStop(let key): saveAndStop(key, process)
    case .drop(let job):
      process.logJob = nil
      drop(job, process)
    case .log(let level, let text):
      trace("\(name(process)): \(text)")
      if level >= .warning { forwardLine(process) }
    case .exit(let code):
      trace("\(name(process)) exits with \(code)")
      end(process, losesPower: false)
    }
  }

  private func say(_ message: MemberMessage, _ process: WorkerProcess) {
    guard let connection = process.connection else { return }
    var step = process.committedStep
    if bug == .commitAhead, process.activity == "training" { step += 1 }
    if bug == .restartLoop, case .heartbeat = message, process.run?.isTraining == true {
      step += UInt64(now / 1_000_000)
    }
    let activity =
      process.activity == "idle" && !process.line.isEmpty ? "saving" : process.activity
    if case .heartbeat(let key) = message {
      return send(
        .pulse(
          key.map(Stamp.init), step: key == nil ? 0 : step, activity: activity,
          shardMicroseconds: process.shardMicroseconds), from: process)
    }
    guard
      let event = Event(
        message, on: ConnectionID(UInt64(connection)), worker: record(process), step: step)
    else { return }
    if event.stamp != nil { remember(event, process.slot) }
    send(.event(event), from: process)
  }

  func record(_ process: WorkerProcess) -> WorkerRecord {
    WorkerRecord(
      id: WorkerID(0), incarnation: "\(process.serial)", name: name(process), dataEndpoint: "\(process.serial)")
  }

  /// The process is gone: killed, exited, or its machine lost power.
  func end(_ process: WorkerProcess, losesPower: Bool) {
    guard process.isAlive else { return }
    process.isAlive = false
    process.deferred = []
    slots[process.slot].process = nil
    if let connection = process.connection {
      // Without power nobody says goodbye: the coordinator waits for the connection's own timeout.
      cut(connection, worker: nil, coordinator: losesPower ? dice.span(mean: 60_000_000) : dice.span(mean: 3_000))
    }
    loseLinks(of: process, after: losesPower ? 3_000_000 : 0)
    after(dice.span(mean: plan.workerRestart), .startWorker(slot: process.slot))
  }

  /// A request that is asked again on each new connection, until it is answered.
  func ask(
    _ request: Request, _ process: WorkerProcess,
    _ place: ReferenceWritableKeyPath<WorkerProcess, WorkerProcess.Pending?>
  ) {
    lastRequest += 1
    var pending = WorkerProcess.Pending(number: lastRequest, request: request)
    pending.isSent = process.connection != nil
    process[keyPath: place] = pending
    send(.request(number: lastRequest, request), from: process)
  }

  /// Sends what the last connection has not carried.
  func resend(_ process: WorkerProcess) {
    for pending in [process.delivery, process.fetch, process.leave] {
      guard let pending, !pending.isSent else { continue }
      send(.request(number: pending.number, pending.request), from: process)
    }
    process.delivery?.isSent = true
    process.fetch?.isSent = true
    process.leave?.isSent = true
  }

  func answered(_ number: UInt64, _ reply: Reply, _ process: WorkerProcess) {
    if process.delivery?.number == number {
      process.delivery = nil
      deliveryAnswered(reply, process)
    } else if process.fetch?.number == number {
      process.fetch = nil
      after(0, .work(process: process.serial, work: process.work, .piece))
    } else if process.leave?.number == number {
      process.leave = nil
      post(.leaveAcknowledged, to: process)
    }
  }

  func timedOut(_ request: UInt64, _ process: WorkerProcess) {
    guard process.delivery?.number == request else { return }
    process.delivery = nil
    conclude(.unreachable, process)
  }
}
