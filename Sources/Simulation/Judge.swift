// What must hold in every world, checked after every event (reference/distributed.md, 5.3):
// S1 one live generation per job, numbers never reused; nothing that belongs to an old one takes effect
// S2 no step that a living member holds is given up   S3, S4 every state is the reference's, so every shard of every step counted once
// S5 an acknowledged job is never lost, a key is one job   S6 a checkpoint that is listed verifies, and one always does
// S7 no worker is in two generations, every shard is somebody's   S9 queues and tables are bounded
// E1 silence is charged only to who was silent. K1 who was revoked is out of every generation. Judge+Evidence: S8, S10.
// Judge+Liveness: L1, L2, L3.
import Coordinator
import RunStore
import Worker

/// Something that did not hold.
package struct Violation: Sendable, Hashable, Codable {
  /// S1, L3 and so on.
  package var invariant: String
  /// What was found, with the values.
  package var text: String
  /// When, in the world's time.
  package var seconds: Double
}

/// The one who knows everything that happens in a world.
final class Judge {
  /// What is known of a job.
  struct JobTruth {
    var plan = 0
    var key = ""
    var state = JobState.queued
    var lastGeneration: UInt64 = 0
    var open: GenerationRecord?
    var isStarted = false
    /// The newest generation in which somebody trained, and from which step.
    var trained: (generation: UInt64, base: UInt64) = (0, 0)
    var committedStep: UInt64 = 0
    var committedAt: Int64 = 0
    /// Restarts that were paid for since a step was committed or the coordinator started.
    var restarts = 0
    var isAcknowledged = false
    var beganAt: Int64 = 0
  }

  var violation: Violation?
  var isOver = false
  var jobs: [JobID: JobTruth] = [:]
  var jobOfKey: [String: JobID] = [:]
  var processOf: [WorkerID: Int] = [:]
  var healedAt: Int64?
  var deadline: Int64 = .max
  /// Whose keys were revoked: when the coordinator of which life knew.
  var dismissals: [Int: (life: Int, at: Int64)] = [:]
  var lines: [LineSource: UInt64] = [:]

  var runningCount: Int { jobs.values.count { $0.state == .running } }
  var pausedJobs: [JobID] { jobs.filter { $0.value.state == .paused }.keys.sorted() }
  func isOver(_ job: JobID) -> Bool { jobs[job]?.state.isOver ?? false }
  func isSubmission(_ job: JobID, named key: String) -> Bool { jobs[job]?.key == key }

  // MARK: Decisions

  /// Everything to persist comes first.
  func decided(_ effects: [Effect], world: World) {
    var others = false
    for effect in effects {
      if case .persist = effect {
        if others { world.violated("S5", "a message is sent before its decision is persisted: \(effects)") }
      } else {
        others = true
      }
    }
  }

  /// What a message tells is in the store.
  func reveals(_ order: Order, world: World) {
    let store = world.disk.store
    switch order {
    case .begin(let briefing):
      let stamp = briefing.stamp
      if store.generations[stamp.job]?.number ?? 0 < stamp.generation {
        world.violated("S5", "\(stamp) is announced and not in the store")
      }
    case .start(let stamp), .stop(let stamp, _, _):
      let known = store.generations[stamp.job]
      if known.map({ $0.number < stamp.generation || ($0.number == stamp.generation && !$0.started) }) ?? true {
        world.violated("S5", "the start or end of \(stamp) is announced, its start is not in the store")
      }
    case .welcome, .refused, .sync, .standby, .drain, .end: break
    }
  }

  /// An answer holds: the job is taken, what it is asked to do is written down.
  func reveals(_ answer: Answer, to client: Client, world: World) {
    switch answer {
    case .submitted(let job, _):
      if world.disk.store.job(job) == nil { world.violated("S5", "\(job) is acknowledged and not in the store") }
    case .controlled(accepted: true, _):
      guard let (job, verb) = client.asked, let record = world.disk.store.job(job) else { return }
      let isDone =
        switch verb {
        case .pause: record.state == .paused || record.intent != nil || record.state.isOver
        case .cancel: record.intent == .cancel || record.state.isOver
        case .kill: record.state.isOver
        case .resume: record.intent != .pause
        }
      if !isDone { world.violated("S5", "\(job) is to \(verb), and the store does not know") }
    case .controlled, .drained: break
    }
  }

  private func persisted(_ change: StoreChange, world: World) {
    switch change {
    case .submitted(let record):
      if let other = jobOfKey[record.name] {
        world.violated("S5", "\(record.name) was submitted once and is \(other) and \(record.id)")
      }
      if jobs[record.id] != nil { world.violated("S5", "the number of \(record.id) is given twice") }
      jobOfKey[record.name] = record.id
      jobs[record.id] = JobTruth(plan: Int(record.spec) ?? 0, key: record.name, committedAt: world.now)
    case .worker(let record): processOf[record.id] = Int(record.dataEndpoint)
    case .generationBegan(let record): began(record, world: world)
    case .generationStarted(let id, let number):
      if jobs[id]?.open?.number != number {
        world.violated("S1", "generation \(number) of \(id) starts and is not the open one")
      }
      jobs[id]?.isStarted = true
    case .generationEnded(let id, let number, _):
      if jobs[id]?.open?.number != number {
        world.violated("S1", "generation \(number) of \(id) ends and is not the open one")
      }
      jobs[id]?.open = nil
    case .state(let id, let state, let reason): stateChanged(id, state, reason, world: world)
    case .result(let id, let sha256, _):
      guard let truth = jobs[id] else { return }
      let plan = world.jobPlans[truth.plan]
      let end = UInt64(plan.milestones.totalSteps)
      if sha256 != String(world.references[truth.plan].state(after: end), radix: 16) {
        world.violated("S4", "\(id) ends with \(sha256), the undisturbed run with another state")
      }
      let final = world.disk.entry(id, step: end)
      if final.map({ !$0.record.isFinal && !$0.isRotten }) ?? true {
        world.violated("S6", "\(id) is finished, its last checkpoint is not on the disk")
      }
    case .checkpoint(let record):
      guard let truth = jobs[record.job], let entry = world.disk.entry(record.job, step: record.step) else {
        // A newer one that took its place is about to be listed, and takes it off the list.
        if world.disk.newest(record.job).found?.step ?? 0 > record.step { return }
        return world.violated("S6", "the checkpoint of step \(record.step) of \(record.job) is listed and not there")
      }
      if entry.hash != world.references[truth.plan].state(after: record.step) {
        world.violated("S4", "the checkpoint of step \(record.step) of \(record.job) holds another state")
      }
    case .dataset, .intent, .checkpointRemoved, .epoch: break
    }
  }

  /// All changes of one decision are known.
  func persisted(_ changes: [StoreChange], world: World) {
    for change in changes { persisted(change, world: world) }
    for (id, truth) in jobs where truth.state == .paused || truth.state.isOver {
      guard let open = truth.open else { continue }
      world.violated("S1", "\(id) is \(truth.state.rawValue), its generation \(open.number) is open")
    }
  }

  private func began(_ record: GenerationRecord, world: World) {
    world.counts.generations += 1
    guard var truth = jobs[record.job] else { return }
    if let open = truth.open {
      world.violated("S1", "generations \(open.number) and \(record.number) of \(record.job) are open")
    }
    if record.number != truth.lastGeneration + 1 {
      world.violated("S1", "generation \(record.number) of \(record.job) follows \(truth.lastGeneration)")
    }
    let settings = world.jobPlans[truth.plan].settings
    if record.members.flatMap({ Array($0.shards) }) != Array(0..<settings.shardCount) {
      world.violated("S7", "the shards of generation \(record.number) of \(record.job) are \(record.members)")
    }
    let isEnough =
      record.members.count >= settings.minimumWorkers
      || world.coordinator?.board.isComingToRest(record.job) == true
    if !isEnough || record.members.count > settings.maximumWorkers {
      world.violated("S7", "\(record.job) has \(record.members.count) workers, it takes \(settings.minimumWorkers)...")
    }
    let workers = Set(record.members.map(\.worker))
    if workers.count != record.members.count { world.violated("S7", "a worker is twice in \(record)") }
    for (id, other) in jobs where id != record.job {
      guard let open = other.open, open.members.contains(where: { workers.contains($0.worker) }) else { continue }
      world.violated("S7", "a worker of generation \(record.number) of \(record.job) is in \(id) as well")
    }
    for member in record.members where processOf[member.worker].map({ world.isDismissed($0) }) ?? false {
      world.violated("K1", "\(member.worker) was revoked, generation \(record.number) of \(record.job) begins with it")
    }
    truth.lastGeneration = record.number
    truth.open = record
    truth.isStarted = false
    truth.beganAt = world.now
    jobs[record.job] = truth
  }

  /// Where a generation starts: nothing that a member holds is given up, nor what a good checkpoint holds.
  func synchronizes(_ stamp: Stamp, step: UInt64, _ origin: StateOrigin, world: World) {
    guard let truth = jobs[stamp.job] else { return }
    if truth.open?.number != stamp.generation {
      world.violated("S1", "\(stamp) is told to synchronize, the store knows \(truth.open?.number ?? 0)")
    }
    for member in truth.open?.members ?? [] {
      guard let process = processOf[member.worker].map({ world.processes[$0] }), process.isAlive,
        process.witnessed.job == stamp.job.rawValue, process.witnessed.step > step
      else { continue }
      world.violated(
        "S2", "\(stamp) starts at step \(step) (\(origin)), \(member.worker) holds step \(process.witnessed.step)")
    }
    if let newest = world.disk.newest(stamp.job).found, newest.step > step, newest.generation < stamp.generation {
      world.violated("S2", "\(stamp) starts at step \(step) (\(origin)), the checkpoint of step \(newest.step) is good")
    }
  }

  // MARK: Workers

  func holds(_ process: WorkerProcess, _ run: WorkerProcess.Run, world: World) {
    guard let state = process.state else { return }
    if state.hash != run.reference.state(after: state.step) {
      world.violated("S4", "\(world.name(process)) took over a wrong state of step \(state.step), \(run.key)")
    }
    process.witnessed = (state.job, max(process.witnessed.job == state.job ? process.witnessed.step : 0, state.step))
  }

  func trains(_ process: WorkerProcess, _ key: GenerationKey, from step: UInt64, world: World) {
    guard var truth = jobs[JobID(key.job)] else { return }
    if key.generation > truth.trained.generation { truth.trained = (key.generation, step) }
    if key.generation == truth.trained.generation, truth.trained.base != step {
      world.violated("S1", "members of \(key) start at steps \(truth.trained.base) and \(step)")
    }
    jobs[JobID(key.job)] = truth
  }

  func committed(_ process: WorkerProcess, _ run: WorkerProcess.Run, world: World) {
    guard let state = process.state, var truth = jobs[JobID(state.job)] else { return }
    if state.hash != run.reference.state(after: state.step) {
      world.violated("S4", "\(world.name(process)) commits a wrong state of step \(state.step), \(run.key)")
    }
    // Members that the coordinator cannot reach may go on by themselves; who knows of another generation may not.
    if let key = process.machine.key, key != run.key {
      world.violated("S1", "\(world.name(process)) commits step \(state.step) of \(run.key), it is in \(key)")
    }
    process.witnessed = (state.job, state.step)
    if state.step > truth.committedStep || run.key.generation == truth.open?.number {
      truth.committedAt = world.now
      truth.restarts = 0
    }
    truth.committedStep = max(truth.committedStep, state.step)
    jobs[JobID(state.job)] = truth
  }

  // MARK: Clients and disk

  func acknowledged(_ job: JobID, key: String, plan: Int) { jobs[job]?.isAcknowledged = true }

  func coordinatorStarted(_ store: StoreModel, world: World) {
    for (id, truth) in jobs {
      if truth.isAcknowledged, store.job(id)?.name != truth.key {
        world.violated("S5", "\(id) (\(truth.key)) was acknowledged and is not in the store")
      }
      jobs[id]?.restarts = 0
    }
  }

  func admitted(_ stamp: Stamp, world: World) {
    if let newest = jobs[stamp.job]?.lastGeneration, newest != stamp.generation {
      world.violated("S1", "a checkpoint of \(stamp) is admitted, the newest generation is \(newest)")
    }
  }

  /// What has its final name is whole, unless the disk damaged it; and what was there stays until there is another.
  func checkCheckpoints(of disk: Disk, world: World) {
    for (id, entries) in disk.checkpoints {
      if let torn = entries.first(where: { !$0.isWhole && !$0.isRotten }) {
        world.violated("S6", "the checkpoint of step \(torn.record.step) of \(id) is listed and torn")
      }
    }
    for (id, known) in disk.store.checkpoints where !known.isEmpty && !isOver(id) {
      if (disk.checkpoints[id] ?? []).isEmpty {
        world.violated("S6", "no checkpoint of \(id) is left of \(known.count)")
      }
    }
  }
}
