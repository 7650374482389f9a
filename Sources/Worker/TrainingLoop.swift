// One member's course through a generation: steps, and what is due after them. The main path is `run`.
import Communication
import Foundation
import JobSpec
import Logging
import Training

/// Trains from the state's step to the end of the job, unless the generation ends first; runs on the training thread.
final class TrainingLoop {
  let run: GenerationRun
  let memory: JobMemory
  let trainer: Trainer
  let services: WorkerServices
  let milestones: Milestones
  private let reporter: ProgressReporter
  private let reducer: ClusterReducer
  private let ownImageCount: Int
  private var shardClock: ShardClock
  var lastCheckpoint: Int?
  /// A stop came before or during an evaluation, which whoever goes on makes up for.
  private var hasPostponed = false
  private var isLeader: Bool { run.assignment.rank == 0 }

  init(run: GenerationRun, memory: JobMemory, trainer: Trainer, services: WorkerServices) throws {
    self.run = run
    self.memory = memory
    self.trainer = trainer
    self.services = services
    let plan = memory.plan
    milestones = Milestones(plan.spec, stepsPerEpoch: plan.stepsPerEpoch)
    reporter = ProgressReporter(run: run, plan: plan, tell: services.tell)
    reducer = try ClusterReducer(
      mesh: services.mesh, plan: plan.reduction, ranges: run.ranges, shardCount: plan.spec.training.virtualShards,
      halvesGradients: plan.spec.training.gradients == .fp16)
    shardClock = ShardClock(shardCount: run.ranges[run.assignment.rank].count)
    services.board.shardMicroseconds = 0
    ownImageCount = run.ranges[run.assignment.rank].count * plan.spec.training.shardSize
  }

  /// Trains to the end.
  ///
  /// - Parameter startsFromCheckpoint: the state came from a checkpoint, which need not be written again.
  /// - Returns: whether the job's last step is done; false when asked to stop before.
  /// - Throws: what ends the generation for this member. The state is that of the last committed step.
  func train(startsFromCheckpoint: Bool) throws -> Bool {
    let state = trainer.state
    if try SharedState.begin(state, over: services.mesh) {
      services.log.debug("\(run.key): weights and moments are shared by \(run.ranges.count) members")
    }
    defer { state.unshare() }
    if startsFromCheckpoint { lastCheckpoint = state.committedStep }
    if isLeader { try tellResultsAgain() }
    try settle(state.committedStep)
    while hasPostponed || !milestones.isEnd(state.committedStep) {
      try run.interruption.check()
      if let stop = run.dueStop(at: state.committedStep) {
        if stop.saves { try save() }
        return false
      }
      services.board.activity = .training
      let start = ContinuousClock.now
      let waitedBefore = reducer.waited
      let report = try trainer.step(reducer)
      let time = ContinuousClock.now - start
      memory.clock.note(epoch: report.epoch, time)
      services.board.count(time: time, waited: reducer.waited - waitedBefore)
      services.board.count(step: UInt64(report.step), images: ownImageCount)
      services.board.shardMicroseconds = shardClock.note(trainer.lastComputeTime)
      if isLeader { reporter.note(report) }
      try settle(report.step)
    }
    return true
  }

  /// Has the state stored by the coordinator, unless it is there already; only rank 0 does it.
  func save() throws {
    if isLeader { _ = try checkpoint(trainer.state.committedStep, .beforeLeaving) }
  }

  /// Does what is due with `step` steps committed; all members agree on it.
  private func settle(_ step: Int) throws {
    let isEnd = milestones.isEnd(step)
    // The checkpoint first: it travels while the evaluation computes.
    var final: CheckpointUpload?
    if isLeader, milestones.wantsCheckpoint(at: step) { final = try checkpoint(step, isEnd ? .final : .regular) }
    if let epoch = milestones.evaluation(at: step) {
      do { try evaluate(epoch, step) } catch is Postponed { hasPostponed = true }
      if hasPostponed { return }
    }
    if isEnd, isLeader, let final { try finish(step, final) }
  }

  /// An evaluation gives way to a stop; not an error.
  private struct Postponed: Error {}

  /// Whether this member has to have its state stored and nobody waits for its part: an evaluation may take longer than the time that
  /// it has for that.
  private func isToSaveAlone(at step: Int) -> Bool {
    run.assignment.peers.count == 1 && run.dueStop(at: step)?.saves == true
  }

  private func evaluate(_ epoch: Int, _ step: Int) throws {
    services.board.activity = .evaluating
    let board = services.board
    let metrics = try trainer.evaluate(
      reducer,
      check: {
        try run.interruption.check()
        if isToSaveAlone(at: step) { throw Postponed() }
      },
      progress: { progress in
        switch progress {
        case .computed: board.countOperation()
        case .waiting: board.activity = .waiting
        }
      })
    memory.results[epoch] = metrics
    if isLeader { try tell(metrics) }
    reporter.resume()
  }
}
