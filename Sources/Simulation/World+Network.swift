// Control links, as ControlClient and ControlServer keep them over TCP: in order, and when a connection is lost its last part with it.
// The two sides learn of a loss at different times, or by silence only.
import Coordinator
import RunStore
import Worker

/// One connection of a worker to the coordinator; its index is the ConnectionID.
struct Connection {
  let process: Int
  let life: Int
  var upReady: Int64 = 0
  var downReady: Int64 = 0
  /// What has not arrived by now never will.
  var isCut = false
  /// Messages towards the coordinator that have not arrived.
  var inFlight = 0
  /// Something has arrived at the coordinator.
  var isHeard = false
  /// The coordinator has seen that its key was revoked.
  var isDismissed = false
}

extension World {
  func connect(_ process: WorkerProcess) {
    guard process.connection == nil else { return }
    let slot = slots[process.slot]
    let isReachable =
      coordinator.map { !$0.isFrozen } ?? false && slot.upBlockedUntil <= now && slot.downBlockedUntil <= now
    if isReachable {
      after(3 * dice.span(mean: plan.delay), .connected(process: process.serial, life: life))
    } else {
      after(process.retry, .connect(process: process.serial))
      process.retry = min(2_000_000, process.retry * 2)
    }
  }

  func connected(_ process: WorkerProcess, life: Int) {
    guard process.connection == nil else { return }
    guard life == self.life, coordinator != nil else { return connect(process) }
    if process.isRevoked {
      trace("\(name(process)) is not admitted: its key was revoked")
      return end(process, losesPower: false)
    }
    process.retry = 100_000
    process.connection = connections.count
    connections.append(Connection(process: process.serial, life: life, upReady: now, downReady: now))
    tell(.linkUp, to: process)
    resend(process)
  }

  /// A worker sends, if it has a connection.
  func send(_ message: Upward, from process: WorkerProcess) {
    guard let connection = process.connection else { return }
    counts.messages += 1
    let slot = slots[process.slot]
    var arrival = max(now, slot.upBlockedUntil) + dice.span(mean: plan.delay)
    arrival = max(arrival, connections[connection].upReady + 1)
    connections[connection].upReady = arrival
    connections[connection].inFlight += 1
    queue.push(.up(connection: connection, message), at: arrival)
  }

  /// The coordinator sends; on a dead connection the message is accepted and dropped, as a ROUTER does.
  func send(_ message: Downward, on connection: Int) {
    guard connections[connection].life == life, !connections[connection].isCut else { return }
    counts.messages += 1
    let slot = slots[processes[connections[connection].process].slot]
    var arrival = max(now, slot.downBlockedUntil) + dice.span(mean: plan.delay) + slot.readDelay
    arrival = max(arrival, connections[connection].downReady + 1)
    connections[connection].downReady = arrival
    queue.push(.down(connection: connection, message), at: arrival)
  }

  /// Ends a connection: what is under way is lost, and each side learns of it after its own time.
  func cut(_ connection: Int, worker: Int64?, coordinator: Int64?) {
    guard !connections[connection].isCut else { return }
    connections[connection].isCut = true
    if let worker { after(worker, .cutSeenByWorker(connection: connection)) }
    if let coordinator { after(coordinator, .cutSeenByCoordinator(connection: connection)) }
  }

  /// The worker learns that its connection is gone.
  func lostConnection(_ connection: Int, _ process: WorkerProcess) {
    guard process.connection == connection else { return }
    process.connection = nil
    process.delivery?.isSent = false
    process.fetch?.isSent = false
    process.leave?.isSent = false
    tell(.linkDown(reason: "the connection was closed"), to: process)
    after(process.retry, .connect(process: process.serial))
  }

  /// The coordinator learns that a connection is gone.
  func lostConnection(_ connection: Int) {
    guard connections[connection].life == life else { return }
    coordinator?.forget(connection)
    decide(.disconnected(ConnectionID(UInt64(connection))))
  }

  /// A message arrives at the coordinator.
  func received(_ message: Upward, on connection: Int) {
    connections[connection].inFlight -= 1
    guard connections[connection].life == life, !connections[connection].isCut else { return }
    if connections[connection].isDismissed { return refuse(connection) }
    connections[connection].isHeard = true
    judge.heard(message, on: connection, world: self)
    switch message {
    case .pulse(let stamp, let step, let activity, let shardTime):
      let pulse = Pulse(
        stamp: stamp, committedStep: step, phase: activity, residentBytes: 1,
        shardTime: shardTime == 0 ? nil : .microseconds(Int64(shardTime)))
      received(.pulse(ConnectionID(UInt64(connection)), pulse), on: connection)
    case .event(let event): received(event, on: connection)
    case .request(let number, let request): serve(request, number, on: connection)
    case .line(let job, let number, let ordinal): takeLine(job, number: number, ordinal: ordinal, on: connection)
    }
  }

  /// A message arrives at a worker.
  func received(_ message: Downward, on connection: Int, _ process: WorkerProcess) {
    guard process.connection == connection, !connections[connection].isCut else { return }
    switch message {
    case .order(let order):
      trace("\(name(process)) <- \(order.summary)")
      tell(MemberEvent(order), to: process)
    case .reply(let number, let reply): answered(number, reply, process)
    }
  }

  func name(_ process: WorkerProcess) -> String { "m\(process.slot)-\(process.serial)" }

  /// Whether the coordinator that runs knows that a process was revoked.
  func isDismissed(_ serial: Int) -> Bool {
    processes[serial].connection.map { connections[$0].isDismissed && connections[$0].life == life } ?? false
  }
}
