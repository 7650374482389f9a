// Everything that the result of a job depends on, besides its spec and data.
//
// Whatever is missing here would be lost at a restart: the step counter stands for the order of samples, the learning
// rate and all random numbers, which are functions of (seed, step).

import Graph
import JobSpec
public import Quantization

/// The state of a job after a number of committed steps.
///
/// All vectors are allocated once; a step changes them only after its reduction has succeeded, in place or, where members
/// share their memory, by changing places (`TrainingState+Sharing`).
/// `@unchecked Sendable` because a snapshot is handed to the checkpoint writer's thread; whoever holds a state is its only
/// writer.
public final class TrainingState: @unchecked Sendable {
  /// Weights and moments, where they lie now.
  public internal(set) var vectors: StateVectors
  /// Where the step under way writes them instead of changing them in place; nil where it does not.
  var nextVectors: StateVectors?
  /// Their own memory while they lie elsewhere.
  var ownVectors: StateVectors?
  /// How the members that share them share the work of loading them.
  var loadSharing: LoadSharing?
  /// Running means and variances in `ParameterLayout`'s buffer order.
  public let statistics: FloatVector
  /// Moving average of weights and statistics; `nil` when the job has it switched off.
  public let average: WeightAverage?
  /// Observers in the order of `ReductionPlan.observerNames`.
  public internal(set) var observers: [ObserverState]
  /// The dynamic loss scale of the FP16 phase.
  public internal(set) var lossScale: LossScale
  /// Global steps done; the next step has this number.
  public internal(set) var committedStep: Int
  /// Committed steps that changed no weight, because their FP16 gradient was not finite.
  public internal(set) var skippedSteps: Int
  /// Tensors of `model.initialize` that did not fit the head and were drawn anew.
  public internal(set) var reinitializedTensors: [String] = []
  let layout: ParameterLayout
  let observerNames: [String]
  let momentNames: [String]

  /// The flat parameter vector, FP32 master weights in kernel order.
  public var weights: FloatVector { vectors.weights }
  /// The optimizer's moments per parameter, see `Optimizer.momentNames`.
  public var moments: [FloatVector] { vectors.moments }
  /// Updates of the weights so far.
  public var updates: Int { committedStep - skippedSteps }

  /// Makes a state of the right sizes: weights and moments zero, running variances 1, nothing observed.
  init(plan: JobPlan) {
    let optimizer = Optimizer(plan.spec.training.optimizer, layout: plan.layout)
    layout = plan.layout
    observerNames = plan.reduction.observerNames
    momentNames = optimizer.momentNames
    let weights = FloatVector(count: plan.layout.parameterElementCount)
    vectors = StateVectors(weights: weights, moments: optimizer.initialMoments())
    statistics = FloatVector(count: plan.layout.bufferElementCount)
    for entry in plan.layout.buffers where entry.buffer.kind == .runningVariance {
      (statistics.pointer + entry.offset).update(repeating: 1, count: entry.elementCount)
    }
    let decay = plan.spec.training.ema.decay
    average = decay > 0 ? WeightAverage(weights: weights, statistics: statistics, decay: decay) : nil
    observers = [ObserverState](repeating: .initial, count: observerNames.count)
    lossScale = LossScale(plan.spec.training.lossScale)
    committedStep = 0
    skippedSteps = 0
  }

  /// An empty state of the same sizes, to copy snapshots into.
  public func makeSnapshotBuffer(plan: JobPlan) -> TrainingState {
    TrainingState(plan: plan)
  }

  /// Copies everything into a state of the same plan; allocates nothing.
  public func copySnapshot(into other: TrainingState) {
    other.vectors.copy(from: vectors)
    other.statistics.copy(from: statistics)
    if let average { other.average?.copy(from: average) }
    for index in observers.indices { other.observers[index] = observers[index] }
    other.lossScale = lossScale
    other.committedStep = committedStep
    other.skippedSteps = skippedSteps
  }
}
