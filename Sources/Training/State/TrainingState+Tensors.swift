// Between a training state and the named tensors of a checkpoint.
//
// model.safetensors: a torchvision state dict of the live weights and running statistics.
// state.safetensors, all that the model file does not hold:
//   optimizer.<moment>.<parameter>            moments, torch order
//   ema.<parameter or buffer>                 averages, where the job has them
//   observer.<node>.{minimum,maximum,batchCount} observers; batchCount is 0 before the first batch
//   lossScale.{value,goodSteps}, step.{committed,skipped}

public import Graph
import Quantization

extension TrainingState {
  /// The state as named tensors in torch order.
  public func tensors() -> (model: [NamedTensor], state: [NamedTensor]) {
    let model = layout.tensors(parameters: weights.values, buffers: statistics.values)
    var state: [NamedTensor] = []
    for (name, moment) in zip(momentNames, moments) {
      state += parameterTensors(moment, prefix: "optimizer.\(name).")
    }
    if let average {
      state += layout.tensors(parameters: average.weights.values, buffers: average.statistics.values)
        .map { $0.renamed("ema." + $0.name) }
    }
    for (name, observer) in zip(observerNames, observers) {
      state += [
        NamedTensor(name: "observer.\(name).minimum", shape: [], floats: [observer.minimum]),
        NamedTensor(name: "observer.\(name).maximum", shape: [], floats: [observer.maximum]),
        NamedTensor(name: "observer.\(name).batchCount", shape: [], uint64s: [observer.batchCount]),
      ]
    }
    state += [
      NamedTensor(name: "lossScale.value", shape: [], floats: [lossScale.value]),
      NamedTensor(name: "lossScale.goodSteps", shape: [], uint64s: [UInt64(lossScale.goodSteps)]),
      NamedTensor(name: "step.committed", shape: [], uint64s: [UInt64(committedStep)]),
      NamedTensor(name: "step.skipped", shape: [], uint64s: [UInt64(skippedSteps)]),
    ]
    return (model, state)
  }

  /// Takes over a checkpoint; the state is unchanged if it throws.
  ///
  /// - Parameters:
  ///   - model: tensors of the model file.
  ///   - state: tensors of the state file.
  ///   - step: global steps that the checkpoint's manifest says are done.
  /// - Throws: `TrainingError.invalidState` naming the tensor that is missing, superfluous, or of another shape or type, or the
  ///   step that does not agree with the manifest.
  public func restore(model: [NamedTensor], state: [NamedTensor], step: Int) throws {
    var reader = TensorReader(model + state)
    let weights = try reader.vector(of: layout, prefix: "")
    let statistics = try reader.buffers(of: layout, prefix: "")
    let moments = try momentNames.map { try reader.vector(of: layout, prefix: "optimizer.\($0).") }
    let average = try self.average.map { _ in
      (try reader.vector(of: layout, prefix: "ema."), try reader.buffers(of: layout, prefix: "ema."))
    }
    let observers = try observerNames.map { name in
      ObserverState(
        minimum: try reader.float("observer.\(name).minimum"), maximum: try reader.float("observer.\(name).maximum"),
        batchCount: try reader.count("observer.\(name).batchCount"))
    }
    let lossScale = LossScale(
      value: try reader.float("lossScale.value"), goodSteps: Int(try reader.count("lossScale.goodSteps")))
    let committedStep = Int(try reader.count("step.committed"))
    let skippedSteps = Int(try reader.count("step.skipped"))
    try reader.expectNothingElse()
    guard committedStep == step, (0...step).contains(skippedSteps) else {
      throw TrainingError(
        .invalidState, "holds step \(committedStep) with \(skippedSteps) skipped; the manifest says step \(step)",
        hint: "the files are of different checkpoints; use another one", location: "step.committed")
    }
    self.weights.copy(from: weights)
    self.statistics.copy(from: statistics)
    for (target, source) in zip(self.moments, moments) { target.copy(from: source) }
    if let average {
      self.average?.weights.copy(from: average.0)
      self.average?.statistics.copy(from: average.1)
    }
    self.observers = observers
    self.lossScale = lossScale
    self.committedStep = committedStep
    self.skippedSteps = skippedSteps
  }

  private func parameterTensors(_ vector: FloatVector, prefix: String) -> [NamedTensor] {
    let values = vector.values
    return layout.parameters.map { entry in
      let order = entry.parameter.weightOrder
      return NamedTensor(
        name: prefix + entry.parameter.name, shape: order.torchShape,
        floats: order.torchOrder(fromKernel: values[entry.range]))
    }
  }
}
