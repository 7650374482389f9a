// The models that a state stands for: what evaluation runs and export writes.
// Where the job keeps a moving average of the weights, that average is the model; the live weights are only trained on.

public import Graph
public import Quantization

extension TrainingState {
  /// The state as a float model, BatchNorm folded.
  ///
  /// - Throws: `QuantizationError` when a BatchNorm cannot be folded.
  public func floatModel(plan: JobPlan) throws -> DeployedModel {
    try model(plan: plan, isQuantized: false)
  }

  /// The state as an int8 model: integers of the trained weights, scales of the observers.
  ///
  /// - Throws: `QuantizationError.missingValue` before the first quantized step, naming the scale that is not known.
  public func quantizedModel(plan: JobPlan) throws -> DeployedModel {
    try model(plan: plan, isQuantized: true)
  }

  /// Whether every observer has seen a batch, so that a quantized model exists.
  public var isQuantized: Bool { !observers.isEmpty && observers.allSatisfy(\.isInitialized) }

  /// The tensors that stand for the model, torch order: the moving average where the job has one, else the live weights.
  public func evaluatedTensors() -> [NamedTensor] {
    layout.tensors(
      parameters: (average?.weights ?? weights).values, buffers: (average?.statistics ?? statistics).values)
  }

  private func model(plan: JobPlan, isQuantized: Bool) throws -> DeployedModel {
    let observed = zip(observerNames, observers).filter { $0.1.isInitialized }
    return try DeployedModel(
      graph: isQuantized ? plan.placedGraph : plan.floatGraph, tensors: evaluatedTensors(),
      activationScales: isQuantized
        ? Dictionary(uniqueKeysWithValues: observed.map { ($0, $1.scale(for: plan.activationRange)) }) : [:],
      classNames: plan.data.classNames, normalization: plan.normalization)
  }
}
