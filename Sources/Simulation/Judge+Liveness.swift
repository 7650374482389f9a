// What must happen, and what must not go on for ever.
// L1 after faults stop every job that has its workers commits a step within a bounded time   L2 every job ends
// L3 no restarts without end: the budget holds, and when nothing is wrong nothing is restarted (skypilot#10155, dlrover PR#1749)
import Coordinator
import RunStore
import Worker

extension Judge {
  /// After faults stop: hung threads are found, lost machines' connections time out, workers come back.
  private static let grace: Int64 = 400_000_000
  /// A thread that hangs is found: patience is three of the slowest steps, and a first answer may take a minute, twice.
  private static let hang: Int64 = 400_000_000

  func stateChanged(_ id: JobID, _ state: JobState, _ reason: String, world: World) {
    // Somebody has it tried again, with a full budget.
    if let before = jobs[id]?.state, before == .paused || before.isOver { jobs[id]?.restarts = 0 }
    jobs[id]?.state = state
    if world.plan.isCalm, reason.contains("are in no checkpoint") {
      world.violated("S2", "nothing was wrong, and steps are given up: \(id) \(reason)")
    }
    guard state == .failed else { return }
    // Giving up after many faults is right; any other failure is ours, as no job here is wrong.
    if !reason.contains("restarts without a committed step") { world.violated("L2", "\(id) fails: \(reason)") }
  }

  func logged(_ job: JobID?, _ severity: Effect.Severity, _ text: String, world: World) {
    guard severity == .warning || severity == .error else { return }
    if let job, text.hasPrefix("generation ") {
      jobs[job]?.restarts += 1
      if let restarts = jobs[job]?.restarts, restarts > RestartBudget.delays.count + 2 {
        world.violated("L3", "\(restarts) restarts of \(job) without a committed step; \(text)")
      }
    }
    if text.contains("lost: silent") { silenceCharged(text, world: world) }
    // Rot is found when somebody reads.
    if text.contains("is damaged and not used") { return }
    // Who is drained may be gone before the coordinator has told the others.
    if world.plan.isCalm, !text.contains("lost its link") {
      world.violated("L3", "nothing was wrong, and yet: \(job.map { "\($0): " } ?? "")\(text)")
    }
    if let healedAt, world.now > healedAt + Self.grace {
      world.violated("L3", "nothing is wrong, and yet: \(job.map { "\($0): " } ?? "")\(text)")
    }
  }

  /// Only who was silent is lost for silence.
  private func silenceCharged(_ text: String, world: World) {
    guard let name = text.split(separator: "(").last?.split(separator: ")").first,
      let serial = name.split(separator: "-").last.flatMap({ Int($0) })
    else { return }
    let process = world.processes[serial]
    // A connection that was made a moment ago has brought nothing yet.
    guard process.isAlive, let connection = process.connection, !world.connections[connection].isCut,
      world.connections[connection].isHeard,
      world.slots[process.slot].troubledUntil + 1_000_000 < world.now, world.slots[process.slot].readDelay == 0,
      world.now - world.connections[connection].upReady < 1_000_000
    else { return }
    world.violated("E1", "\(world.name(process)) was heard all the time; \(text)")
  }

  /// From now on the jobs that are left have as long as one worker alone would need, and what mending takes.
  func faultsStopped(world: World) {
    healedAt = world.now
    var time = Self.grace
    for truth in jobs.values where !truth.state.isOver {
      let plan = world.jobPlans[truth.plan]
      let step = plan.shardTime * Int64(plan.settings.shardCount) * 3 / 2
      let epochs = Int64(plan.milestones.epochs + 1)
      time += step * Int64(plan.milestones.totalSteps) + epochs * plan.evaluationTime + 120_000_000
    }
    deadline = world.now + time
  }

  /// Every ten seconds.
  func watch(world: World) {
    bounded(world: world)
    honest(world: world)
    checkDismissed(world: world)
    guard let healedAt else { return }
    if jobs.values.allSatisfy({ $0.state.isOver }) {
      coordinatorStarted(world.disk.store, world: world)
      isOver = true
      return
    }
    let names = jobs.filter { !$0.value.state.isOver }.keys.sorted()
    if world.now > deadline, let coordinator = world.coordinator {
      let reasons = names.map { "\($0): \(coordinator.board.reason(of: $0, at: world.coordinatorTime))" }
      world.violated("L2", "not over in time: \(reasons)")
    }
    guard world.now > healedAt + Self.grace else { return }
    for id in names {
      guard let truth = jobs[id], truth.open != nil else { continue }
      let plan = world.jobPlans[truth.plan]
      let step = plan.shardTime * Int64(plan.settings.shardCount) * 3 / 2
      let last = max(truth.committedAt, truth.beganAt)
      if world.now - last > 120_000_000 + 3 * step + 2 * plan.evaluationTime {
        world.violated("L1", "\(id) has workers and no step for \((world.now - last) / 1_000_000) s")
      }
    }
  }

  /// What the coordinator says is committed is, and a thread that hangs in a generation does not go unnoticed.
  private func honest(world: World) {
    for (id, truth) in jobs {
      guard let view = world.coordinator?.board.view(of: id, at: world.coordinatorTime) else { continue }
      if view.committedStep > truth.committedStep, world.disk.newest(id).found?.step ?? 0 < view.committedStep {
        world.violated("S2", "step \(view.committedStep) of \(id) is said to be committed, \(truth.committedStep) is")
      }
    }
    for process in world.processes where process.isAlive && process.isHung && process.run != nil {
      if world.now - max(process.hungSince, process.runBegan) > Self.hang {
        world.violated("L1", "\(world.name(process)) hangs for 400 s in a generation")
      }
    }
  }

  /// S9.
  private func bounded(world: World) {
    for (index, connection) in world.connections.enumerated() where connection.inFlight > 2_000 {
      world.violated("S9", "\(connection.inFlight) messages are under way on connection \(index)")
    }
    guard let coordinator = world.coordinator else { return }
    let known = coordinator.board.workerViews(at: world.coordinatorTime).count
    let possible = 64 + 8 * world.slots.count
    if known > possible {
      world.violated("S9", "the coordinator knows \(known) workers on \(world.slots.count) machines")
    }
    if world.queue.count > 20_000 { world.violated("S9", "\(world.queue.count) things are to happen") }
  }
}
