// What a job comes to on a given data set: graphs, layouts, steps and the phase of each step.
// A function of the spec and the data set alone, so every rank and every restart derives the same plan.

public import Graph
public import JobSpec
import Quantization

/// A job resolved against its data set.
public struct JobPlan: Sendable {
  /// What a plan needs to know of the data set.
  public struct DataShape: Sendable, Hashable {
    /// Height, width and channels of a sample.
    public let sample: TensorShape
    /// Class names in label order.
    public let classNames: [String]
    /// Samples of the training split.
    public let trainCount: Int
    /// Samples of the test split.
    public let testCount: Int

    /// Describes a data set.
    public init(sample: TensorShape, classNames: [String], trainCount: Int, testCount: Int) {
      self.sample = sample
      self.classNames = classNames
      self.trainCount = trainCount
      self.testCount = testCount
    }
  }

  /// The job.
  public let spec: JobSpec
  /// The data set.
  public let data: DataShape
  /// The model of the float phase.
  public let floatGraph: Graph
  /// The model of the quantized phase; `nil` when the job has none.
  public let quantizedGraph: Graph?
  /// The float model with Q/DQ placed as the spec says, whether or not training uses it: what post-training quantization fills.
  public let placedGraph: Graph
  /// Integers of every quantized activation.
  public let activationRange: IntegerRange
  /// Places of parameters and buffers, the same in both phases.
  public let layout: ParameterLayout
  /// Places of what a step reduces.
  public let reduction: ReductionPlan
  /// Global steps of an epoch; the incomplete last batch is dropped.
  public let stepsPerEpoch: Int
  /// The learning rate of every step.
  public let schedule: LearningRateSchedule

  /// Global steps of the job.
  public var totalSteps: Int { stepsPerEpoch * spec.training.epochs }

  /// Resolves a job.
  ///
  /// - Throws: `TrainingError.invalidPlan` when the training split is smaller than a batch or a rare class does not exist;
  ///   `GraphError` when the images are too small for the model.
  public init(spec: JobSpec, data: DataShape) throws {
    self.spec = spec
    self.data = data
    let batchSize = spec.training.batchSize
    guard data.trainCount >= batchSize else {
      throw TrainingError(
        .invalidPlan, "the training split has \(data.trainCount) samples; a global batch takes \(batchSize)",
        hint: "lower training.batchSize", location: "training.batchSize")
    }
    for name in spec.data.rareClasses where !data.classNames.contains(name) {
      throw TrainingError(
        .invalidPlan, "rare class \"\(name)\" is not in the data set",
        hint: "classes are \(data.classNames.joined(separator: ", "))", location: "data.rareClasses")
    }
    floatGraph = try ResNet.build(
      depth: spec.model.architecture == .resnet10 ? 10 : 18, width: spec.model.width,
      stem: spec.model.stem == .imagenet ? .imagenet : .small(stride: spec.model.stemStride), input: data.sample,
      classes: data.classNames.count)
    let placement = try Self.placement(spec.quantization)
    placedGraph = try QuantizationPlacement.apply(to: floatGraph, options: placement)
    quantizedGraph = spec.quantization.enabled ? placedGraph : nil
    activationRange = placement.activations
    layout = ParameterLayout(floatGraph)
    reduction = ReductionPlan(graph: quantizedGraph ?? floatGraph, layout: layout)
    stepsPerEpoch = data.trainCount / batchSize
    schedule = LearningRateSchedule(
      spec.training.schedule, peak: spec.training.optimizer.learningRate, stepsPerEpoch: stepsPerEpoch,
      totalSteps: stepsPerEpoch * spec.training.epochs)
  }

  /// The phase of a global step, counted from 0.
  public func phase(atStep step: Int) -> Phase {
    let epoch = step / stepsPerEpoch + 1
    let quantization = spec.quantization
    let isQuantized = quantization.enabled && epoch >= quantization.startEpoch
    func isFrozen(from frozenEpoch: Int) -> Bool { isQuantized && frozenEpoch > 0 && epoch >= frozenEpoch }
    let floatPrecision: ExecutionPrecision = spec.training.precision == .fp16 ? .fp16 : .fp32
    return Phase(
      precision: isQuantized ? .quantized : floatPrecision, epoch: epoch, stepInEpoch: step % stepsPerEpoch,
      calibratesFirst: isQuantized && epoch == max(1, quantization.startEpoch) && step % stepsPerEpoch == 0,
      observersAreFrozen: isFrozen(from: quantization.freezeObserversEpoch),
      batchNormIsFrozen: isFrozen(from: quantization.freezeBatchNormEpoch))
  }
}

/// How one step is computed.
public struct Phase: Sendable, Hashable {
  /// Arithmetic of forward and backward.
  public let precision: ExecutionPrecision
  /// Epoch, counted from 1.
  public let epoch: Int
  /// Step within the epoch, counted from 0.
  public let stepInEpoch: Int
  /// Whether this is the first quantized step, which sets the first scales from a few calibration batches.
  public let calibratesFirst: Bool
  /// Whether observers keep their state.
  public let observersAreFrozen: Bool
  /// Whether BatchNorm normalizes by its running statistics and keeps them.
  public let batchNormIsFrozen: Bool
}
