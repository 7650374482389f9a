// Checkpoints on their way to the coordinator's disk, on its background queue. Counterpart of CheckpointDesk, CheckpointIntake and
// CheckpointWriter: one after the other, named when all of it is there, known to the store after that.
import Coordinator
import RunStore

extension World {
  /// Puts something at the end of the background queue.
  func desk(_ task: DeskTask, taking mean: Int64) {
    guard let coordinator else { return }
    coordinator.deskTasks.append((task, dice.span(mean: mean)))
    if coordinator.deskTasks.count == 1 { deskBegins(coordinator) }
  }

  /// The next part of the task at hand, before anything else that waits.
  private func deskContinues(_ coordinator: CoordinatorProcess, _ task: DeskTask, taking mean: Int64) {
    coordinator.deskTasks.insert((task, dice.span(mean: mean)), at: 1)
  }

  private func deskBegins(_ coordinator: CoordinatorProcess) {
    guard let (task, span) = coordinator.deskTasks.first else { return }
    queue.push(.desk(life: life, task), at: now + span)
  }

  /// The task at hand is done.
  func deskDoes(_ task: DeskTask) {
    guard let coordinator else { return }
    perform(task, coordinator)
    coordinator.deskTasks.removeFirst()
    if coordinator === self.coordinator { deskBegins(coordinator) }
  }

  private func perform(_ task: DeskTask, _ coordinator: CoordinatorProcess) {
    switch task {
    case .begin(let connection, let request, let offer):
      guard !disk.isFull else {
        coordinator.uploads[offer.stamp.job] = nil
        return send(.reply(number: request, .refused(reason: "the disk is full")), on: connection)
      }
      coordinator.uploads[offer.stamp.job] = CoordinatorProcess.Upload(connection: connection, offer: offer)
      send(.reply(number: request, .acknowledged), on: connection)
    case .commit(let connection, let request, let stamp, let step):
      commit(coordinator, connection, request, stamp, step)
    case .settle(let connection, let request, let record):
      disk.change(record.job, step: record.step) { $0.isDurable = bug != .renameBeforeSync }
      let pruned = disk.prune(record.job, keep: plan(of: record.job)?.keep ?? 1)
      judge.checkCheckpoints(of: disk, world: self)
      // Between the disk and the row in the store the coordinator may die.
      deskContinues(
        coordinator, .report(connection: connection, request: request, record, pruned: pruned), taking: 10_000)
    case .report(let connection, let request, let record, let pruned):
      decide(.checkpointStored(record, pruned: pruned))
      if self.coordinator != nil { send(.reply(number: request, .checkpointTaken), on: connection) }
    case .verify(let job, let listed):
      let (found, damaged) = bug == .staleListing ? (listed, []) : disk.newest(job)
      decide(.checkpointsVerified(job, newest: found, damaged: damaged))
    }
  }

  private func commit(
    _ coordinator: CoordinatorProcess, _ connection: Int, _ request: UInt64, _ stamp: Stamp, _ step: UInt64
  ) {
    guard let upload = coordinator.uploads[stamp.job], upload.connection == connection, upload.offer.step == step else {
      return send(.reply(number: request, .refused(reason: "no checkpoint of this step was begun")), on: connection)
    }
    coordinator.uploads[stamp.job] = nil
    guard !disk.isFull else {
      return send(.reply(number: request, .refused(reason: "the disk is full")), on: connection)
    }
    let offer = upload.offer
    let record = CheckpointRecord(
      job: stamp.job, step: step, epoch: offer.epoch, generation: offer.stamp.generation, name: "step-\(step)",
      isFinal: offer.isFinal)
    counts.checkpoints += 1
    disk.put(Disk.Entry(record: record, hash: offer.hash))
    judge.checkCheckpoints(of: disk, world: self)
    // Between the name and its arrival on the disk the coordinator may die.
    deskContinues(coordinator, .settle(connection: connection, request: request, record), taking: 10_000)
  }

  /// The plan of a job, by its spec.
  func plan(of job: JobID) -> JobPlan? { disk.store.job(job).flatMap { Int($0.spec) }.map { jobPlans[$0] } }
}
