// From reduced sums to the next state: the same additions on every rank, so the same bits.

import JobSpec
import Kernels
import Quantization

/// Commits steps.
final class StateUpdate {
  /// What the pool's threads need to know of the update in progress.
  private struct Task {
    var buffers: StepBuffers
    var state: TrainingState
    var step: Optimizer.Step
  }

  private let plan: JobPlan
  private let pool: ThreadPool
  private let optimizer: Optimizer
  private let batchNormMomentum: Float
  private var task: Task?
  private var updateWork: (TaskShare) -> Void = { _ in }
  private var averageWork: (TaskShare) -> Void = { _ in }

  init(plan: JobPlan, pool: ThreadPool) {
    self.plan = plan
    self.pool = pool
    optimizer = Optimizer(plan.spec.training.optimizer, layout: plan.layout)
    batchNormMomentum = plan.batchNormMomentum
    // Made once: a closure per step would be an allocation per step.
    updateWork = { [unowned self] in updateWeights(part: $0.part, of: $0.parts) }
    averageWork = { [unowned self] in updateAverage(part: $0.part, of: $0.parts) }
  }

  /// Applies a reduced step, or skips it when its FP16 gradient is not finite.
  ///
  /// - Throws: `TrainingError.diverged`, with the state unchanged.
  func commit(
    _ buffers: StepBuffers, gradientIsFinite isFinite: Bool, to state: TrainingState, phase: Phase, lossScale: Float
  ) throws -> StepReport {
    let learningRate = plan.schedule.learningRate(atStep: state.committedStep)
    task = Task(
      buffers: buffers, state: state,
      step: Optimizer.Step(learningRate: learningRate, update: state.updates + 1, gradientScale: 1 / lossScale))
    defer { task = nil }
    var nextLossScale = state.lossScale
    if phase.precision == .fp16 {
      nextLossScale.update(
        gradientIsFinite: isFinite, growthInterval: plan.spec.training.lossScale.growthInterval)
    }
    guard isFinite || (phase.precision == .fp16 && !nextLossScale.isExhausted) else {
      throw divergence(atStep: state.committedStep, phase: phase, lossScale: lossScale)
    }

    if isFinite {
      pool.run(parts: pool.threadCount, updateWork)
      if !phase.batchNormIsFrozen { updateStatistics(buffers, state) }
      if state.average != nil { pool.run(parts: pool.threadCount, averageWork) }
      if phase.precision == .quantized {
        if !phase.observersAreFrozen { buffers.observe(buffers.maxima.pointer, plan: plan) }
        for index in state.observers.indices { state.observers[index] = buffers.observers[index] }
      }
    } else {
      state.skippedSteps += 1
    }
    state.lossScale = nextLossScale
    state.committedStep += 1
    return report(buffers, state, phase, learningRate: learningRate, lossScale: lossScale, isSkipped: !isFinite)
  }

  private func updateWeights(part: Int, of parts: Int) {
    guard let task else { return }
    optimizer.update(
      weights: task.state.weights, gradient: task.buffers.sum.pointer, moments: task.state.moments, step: task.step,
      part: part, of: parts)
  }

  /// Moves the averages; after the join of `updateWeights`, because the two kernels may cut the vector at different places.
  private func updateAverage(part: Int, of parts: Int) {
    guard let task, let average = task.state.average else { return }
    average.updateWeights(from: task.state.weights, updates: task.step.update, part: part, of: parts)
    if part == 0 { average.updateStatistics(from: task.state.statistics, updates: task.step.update) }
  }

  /// running = (1 - momentum) running + momentum * mean over shards.
  private func updateStatistics(_ buffers: StepBuffers, _ state: TrainingState) {
    let batch = buffers.sum.pointer + plan.reduction.statisticsRange.lowerBound
    let share = 1 / Float(plan.spec.training.virtualShards)
    let momentum = batchNormMomentum
    let running = state.statistics.pointer
    for index in 0..<state.statistics.count {
      running[index] = (1 - momentum) * running[index] + momentum * (batch[index] * share)
    }
  }

  private func report(
    _ buffers: StepBuffers, _ state: TrainingState, _ phase: Phase, learningRate: Double, lossScale: Float,
    isSkipped: Bool
  ) -> StepReport {
    let batchSize = Float(plan.spec.training.batchSize)
    return StepReport(
      step: state.committedStep, epoch: phase.epoch, precision: phase.precision,
      loss: buffers.sum.pointer[plan.reduction.lossIndex] / batchSize,
      accuracy: buffers.sum.pointer[plan.reduction.correctIndex] / batchSize, learningRate: learningRate,
      lossScale: lossScale, isSkipped: isSkipped, endsEpoch: phase.stepInEpoch + 1 == plan.stepsPerEpoch)
  }

  private func divergence(atStep step: Int, phase: Phase, lossScale: Float) -> TrainingError {
    TrainingError(
      .diverged,
      "the gradient is not finite in the \(phase.precision.rawValue) phase, epoch \(phase.epoch), loss scale \(lossScale)",
      hint: "lower training.optimizer.learningRate or lengthen training.schedule.warmupEpochs",
      location: "step \(step)")
  }
}
