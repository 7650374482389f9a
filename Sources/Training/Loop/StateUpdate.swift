// From reduced sums to the next state: the same additions on every rank, so the same bits.
//
// Each member updates everything, in place, when all sums stand; or, where members share the memory of weights and moments, what it
// has summed itself, while the sum is in a cache, into the place that becomes the state when the step is committed.

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
    var current: StateVectors
    var next: StateVectors
  }

  private let plan: JobPlan
  private let pool: ThreadPool
  private let optimizer: Optimizer
  private let batchNormMomentum: Float
  private var task: Task?
  private var updateWork: (TaskShare) -> Void = { _ in }
  private var averageWork: (TaskShare) -> Void = { _ in }
  private var finishWork: (Range<Int>, UnsafePointer<Float>) -> Void = { _, _ in }

  init(plan: JobPlan, pool: ThreadPool) {
    self.plan = plan
    self.pool = pool
    optimizer = Optimizer(plan.spec.training.optimizer, layout: plan.layout)
    batchNormMomentum = plan.batchNormMomentum
    // Made once: a closure per step would be an allocation per step.
    updateWork = { [unowned self] in
      guard let task else { return }
      let range = optimizer.share(part: $0.part, of: $0.parts)
      updateWeights(range, gradient: task.buffers.sum.pointer + range.lowerBound)
    }
    averageWork = { [unowned self] in updateAverage(part: $0.part, of: $0.parts) }
    finishWork = { [unowned self] in updateWeights($0, gradient: $1) }
  }

  /// Takes up a step.
  ///
  /// - Returns: what to do with ranges of the gradient as soon as this member has summed them; nil when there is nothing to do
  ///   before the step is committed.
  func begin(
    _ buffers: StepBuffers, state: TrainingState, lossScale: Float
  ) -> ((Range<Int>, UnsafePointer<Float>) -> Void)? {
    let learningRate = plan.schedule.learningRate(atStep: state.committedStep)
    task = Task(
      buffers: buffers, state: state,
      step: Optimizer.Step(learningRate: learningRate, update: state.updates + 1, gradientScale: 1 / lossScale),
      current: state.vectors, next: state.nextVectors ?? state.vectors)
    return state.nextVectors == nil ? nil : finishWork
  }

  /// Applies the reduced step, or skips it when its FP16 gradient is not finite.
  ///
  /// - Throws: `TrainingError.diverged`, with the state unchanged.
  func commit(gradientIsFinite isFinite: Bool, phase: Phase, lossScale: Float) throws -> StepReport {
    guard let task else { preconditionFailure("a step is committed that was not begun") }
    let (buffers, state) = (task.buffers, task.state)
    defer { self.task = nil }
    var nextLossScale = state.lossScale
    if phase.precision == .fp16 {
      nextLossScale.update(
        gradientIsFinite: isFinite, growthInterval: plan.spec.training.lossScale.growthInterval)
    }
    guard isFinite || (phase.precision == .fp16 && !nextLossScale.isExhausted) else {
      throw divergence(atStep: state.committedStep, phase: phase, lossScale: lossScale)
    }

    if isFinite {
      if state.nextVectors == nil {
        pool.run(parts: pool.threadCount, updateWork)
      } else {
        state.changePlaces()
      }
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
    return report(
      buffers, state, phase, learningRate: task.step.learningRate, lossScale: lossScale, isSkipped: !isFinite)
  }

  private func updateWeights(_ range: Range<Int>, gradient: UnsafePointer<Float>) {
    guard let task else { return }
    optimizer.update(range, of: task.current, gradient: gradient, into: task.next, step: task.step)
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
