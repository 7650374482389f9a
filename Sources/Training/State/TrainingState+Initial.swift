// The state before the first step: random weights as torchvision draws them, or weights from a file.

import Data
public import Graph
import JobSpec

extension TrainingState {
  /// The state before the first step.
  ///
  /// Random weights: convolutions Kaiming normal with fan-out (He et al. 2015, torchvision's choice), the linear head uniform in
  /// +-1/sqrt(fan-in) as torch's default, BatchNorm scale 1 and shift 0. Each is a function of (seed, parameter, element).
  ///
  /// - Parameters:
  ///   - plan: the job.
  ///   - initialWeights: a torchvision state dict to start from. A head with another number of classes is left random and
  ///     listed in `reinitializedTensors`.
  /// - Throws: `GraphError` for a missing tensor or one of the wrong shape, by name.
  public static func initial(plan: JobPlan, initialWeights: [NamedTensor]? = nil) throws -> TrainingState {
    let state = TrainingState(plan: plan)
    for (index, entry) in plan.layout.parameters.enumerated() {
      let values = UnsafeMutableBufferPointer(start: state.weights.pointer + entry.offset, count: entry.elementCount)
      state.drawInitial(entry.parameter, into: values, index: index, plan: plan)
    }
    if let initialWeights { try state.loadWeights(initialWeights, plan: plan) }
    state.average?.weights.copy(from: state.weights)
    state.average?.statistics.copy(from: state.statistics)
    return state
  }

  private func drawInitial(
    _ parameter: Parameter, into values: UnsafeMutableBufferPointer<Float>, index: Int, plan: JobPlan
  ) {
    let random = CounterRandom(seed: plan.spec.seed, .initialization, index)
    switch parameter.kind {
    case .weight where parameter.torchShape.count == 4:
      let deviation = (2 / Double(parameter.fanOut)).squareRoot()
      draw(parameter, into: values) { Float(deviation * random.normal($0)) }
    case .weight, .bias:
      let weight = layout.parameter(named: "\(plan.floatGraph[parameter.node].name).weight")?.parameter ?? parameter
      let bound = 1 / Double(weight.fanIn).squareRoot()
      draw(parameter, into: values) { Float(bound * (2 * random.double($0) - 1)) }
    case .batchNormScale: values.update(repeating: 1)
    case .batchNormShift: values.update(repeating: 0)
    }
  }

  /// Draws every value by its number in the order [kh][kw][in][out], which does not depend on how kernels like them to lie.
  private func draw(
    _ parameter: Parameter, into values: UnsafeMutableBufferPointer<Float>, _ value: (_ element: Int) -> Float
  ) {
    let (outputs, inputs) = (parameter.torchShape[0], parameter.torchShape.dropFirst().first ?? 1)
    var index = 0
    parameter.weightOrder.visit { tap, input, output in
      values[index] = value((tap * inputs + input) * outputs + output)
      index += 1
    }
  }

  /// Takes over a state dict; tensors of output layers whose shape differs are replaced by the random ones drawn before.
  private func loadWeights(_ tensors: [NamedTensor], plan: JobPlan) throws {
    let drawn = layout.tensors(parameters: weights.values, buffers: statistics.values)
    let heads = Set(
      plan.floatGraph.outputNodes.flatMap { node in
        ["weight", "bias"].map { "\(plan.floatGraph[node].name).\($0)" }
      })
    let shapes = Dictionary(drawn.map { ($0.name, $0.shape) }, uniquingKeysWith: { first, _ in first })
    reinitializedTensors = tensors.filter { heads.contains($0.name) && $0.shape != shapes[$0.name] }.map(\.name)
    let replaced = Set(reinitializedTensors)
    let values = try layout.vectors(
      from: tensors.filter { !replaced.contains($0.name) } + drawn.filter { replaced.contains($0.name) })
    weights.copy(from: values.parameters)
    statistics.copy(from: values.buffers)
  }
}
