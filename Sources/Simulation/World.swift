// A cluster in one thread: clients, a coordinator that dies and comes back, workers, links, disk and clocks, all on one virtual clock
// and one seed. The state machines are the product's (JobBoard, MemberMachine, DeliveryLine, Milestones); everything around them is a
// model whose parts say which shell they stand for. After every event Judge compares with what must hold.
//
// World+Network: control links. World+Coordinator, World+Checkpoints: the coordinator's shell. World+Member, World+Training,
// World+Mesh, World+Deliveries: the worker's shell. World+Clients: people. World+Faults: everything that goes wrong.
import Coordinator
import Data
import Logging
import RunStore
import Worker

/// One simulated cluster.
final class World {
  /// A machine that runs one worker at a time; times until which something is wrong with it.
  struct Slot {
    var process: Int?
    var slowness: Int64 = 1
    var readDelay: Int64 = 0
    var frozenUntil: Int64 = 0
    var upBlockedUntil: Int64 = 0
    var downBlockedUntil: Int64 = 0
    var meshBlockedUntil: Int64 = 0
    /// Something was wrong with it that may show as silence.
    var troubledUntil: Int64 = 0
    /// Its monotonic clock: ahead by, and faster by parts per million.
    var clockOffset: Int64
    var clockDrift: Int64
  }

  let plan: WorldPlan
  let bug: PlantedBug?
  var dice: Dice
  var queue = EventQueue()
  var now: Int64 = 0
  /// A digest of the course so far: the same for the same seed.
  var fingerprint: UInt64 = 0

  var slots: [Slot] = []
  var processes: [WorkerProcess] = []
  var connections: [Connection] = []
  var coordinator: CoordinatorProcess?
  /// How many coordinators there have been.
  var life = 0
  var coordinatorClock: (offset: Int64, drift: Int64) = (0, 0)
  var disk = Disk()
  /// Decisions that a forgetful store has not written yet.
  var unwritten: [StoreChange] = []
  var clients: [Client] = []
  var jobPlans: [JobPlan] = []
  var references: [Reference] = []
  var lastRequest: UInt64 = 0
  var isHealed = false
  var crash: CrashPoint?
  /// Frames and statements of the past, for replays.
  var oldFrames: [(slot: Int, sender: Int, frame: Frame)] = []
  var oldStatements: [(slot: Int, event: Event)] = []

  let judge = Judge()
  var counts = Counts()
  /// Called with each line of the trace, nil for none.
  var tracer: ((String) -> Void)?

  /// What happened, for the report.
  struct Counts: Sendable {
    var workerKills = 0
    var coordinatorKills = 0
    var faults = 0
    var generations = 0
    var steps = 0
    var checkpoints = 0
    var messages = 0
    var jobMicroseconds: Int64 = 0
    var faultKinds: [String: Int] = [:]
  }

  init(seed: UInt64, hours: Double, bug: PlantedBug?) {
    var dice = Dice(seed: seed)
    plan = WorldPlan(&dice, hours: hours)
    self.bug = bug
    for _ in 0..<plan.slotCount {
      slots.append(Slot(clockOffset: dice.roll(0...1_000_000_000), clockDrift: dice.roll(-200...200)))
    }
    coordinatorClock = (dice.roll(0...1_000_000_000), dice.roll(-200...200))
    for index in 0..<plan.clientCount { clients.append(Client(index: index)) }
    self.dice = dice
    queue.push(.startCoordinator, at: 0)
    for slot in slots.indices { queue.push(.startWorker(slot: slot), at: self.dice.roll(0...3_000_000)) }
    for client in clients.indices { queue.push(.client(client), at: self.dice.roll(0...2_000_000)) }
    queue.push(.fault, at: 10_000_000)
    queue.push(.heal, at: plan.faultEnd)
    queue.push(.watch, at: 10_000_000)
  }

  /// Lets everything happen until all jobs are over or something does not hold.
  func run() {
    while !judge.isOver, judge.violation == nil, let (time, order, occurrence) = queue.pop() {
      now = time
      fingerprint = CounterRandom.mix(fingerprint ^ UInt64(bitPattern: time) &+ order &<< 40)
      happen(occurrence)
    }
  }

  private func happen(_ occurrence: Occurrence) {
    switch occurrence {
    case .nothing: break
    case .knock(let stranger, let victim): knock(stranger, as: victim)
    case .coordinatorTick, .up, .cutSeenByCoordinator, .dataset, .desk, .clientArrives:
      if let coordinator, coordinator.isFrozen {
        coordinator.deferred.append(occurrence)
      } else {
        atCoordinator(occurrence)
      }
    case .memberTick(let process), .work(let process, _, _), .outbox(let process), .timeout(let process, _),
      .event(let process, _), .frame(let process, _, _), .linkLost(let process, _, _), .connect(let process),
      .connected(let process, _):
      atWorker(occurrence, processes[process])
    case .down(let connection, _), .cutSeenByWorker(let connection):
      atWorker(occurrence, processes[connections[connection].process])
    case .client(let index): clientWakes(index)
    case .clientAnswered(let index, let answer): clientAnswered(index, answer)
    case .fault: strike()
    case .thaw(let slot): thaw(slot)
    case .thawCoordinator: thawCoordinator()
    case .startWorker(let slot): startWorker(slot)
    case .startCoordinator: startCoordinator()
    case .diskFreed: disk.isFull = false
    case .heal: heal()
    case .watch: watch()
    }
  }

  private func atWorker(_ occurrence: Occurrence, _ process: WorkerProcess) {
    guard process.isAlive else { return }
    if slots[process.slot].frozenUntil > now {
      process.deferred.append(occurrence)
      return
    }
    switch occurrence {
    case .memberTick: memberTicks(process)
    case .work(_, let number, let work):
      if number == process.work, !process.isHung { self.work(work, process) }
    case .outbox: deliverNext(process)
    case .timeout(_, let request): timedOut(request, process)
    case .event(_, let event): tell(event, to: process)
    case .frame(_, let sender, let frame): if opens(from: sender) { received(frame, from: sender, process) }
    case .linkLost(_, let key, let rank): linkLost(key, rank: rank, process)
    case .connect: connect(process)
    case .connected(_, let life): connected(process, life: life)
    case .down(let connection, let message): received(message, on: connection, process)
    case .cutSeenByWorker(let connection): lostConnection(connection, process)
    default: break
    }
  }

  private func atCoordinator(_ occurrence: Occurrence) {
    guard coordinator != nil else {
      if case .up(let connection, _) = occurrence { connections[connection].inFlight -= 1 }
      return
    }
    switch occurrence {
    case .coordinatorTick(let life) where life == self.life: coordinatorTicks()
    case .up(let connection, let message): received(message, on: connection)
    case .cutSeenByCoordinator(let connection): lostConnection(connection)
    case .dataset(let life, let job) where life == self.life: decide(.datasetReady(job, "data"))
    case .desk(let life, let task) where life == self.life: deskDoes(task)
    case .clientArrives(let index, let request): clientArrives(index, request)
    default: break
    }
  }

  /// Schedules something for later.
  func after(_ delay: Int64, _ occurrence: Occurrence) { queue.push(occurrence, at: now + max(0, delay)) }

  /// The time on a worker's monotonic clock.
  func time(on slot: Int) -> Duration {
    .microseconds(slots[slot].clockOffset + now + now / 1_000_000 * slots[slot].clockDrift)
  }

  /// The time on the coordinator's monotonic clock.
  var coordinatorTime: Instant { coordinatorTime(at: now) }

  func coordinatorTime(at moment: Int64) -> Instant {
    Instant(.microseconds(coordinatorClock.offset + moment + moment / 1_000_000 * coordinatorClock.drift))
  }

  /// A line of the trace.
  func trace(_ text: @autoclosure () -> String) {
    guard let tracer else { return }
    let tenths = now / 100
    let fraction = String(tenths % 10_000)
    tracer("\(tenths / 10_000).\(String(repeating: "0", count: 4 - fraction.count))\(fraction) \(text())")
  }

  /// Something does not hold.
  func violated(_ invariant: String, _ text: @autoclosure () -> String) {
    guard judge.violation == nil else { return }
    let text = text()
    trace("VIOLATION of \(invariant): \(text)")
    judge.violation = Violation(invariant: invariant, text: text, seconds: Double(now) / 1e6)
  }
}
