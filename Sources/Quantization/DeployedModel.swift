// The model as it is deployed: BatchNorm folded, integer weights, known scales. The single description that integer
// evaluation (Training) and export (Export) read, so what is evaluated is what is exported.
//
// Meaning of an int8 layer k of input scale a, with q the int8 input and w the int8 weights:
//   y[k] = Float(sum of q * w, exact in int32) * (a * scale[k]) + bias[k], float from there on;
// a fakeQuantize node makes int8 of it again. ReLU, add and pooling act on real values.

public import Graph

/// What the network expects of pixels: (pixel - mean) * (1 / deviation) per channel, in units of stored pixels (0...255).
public struct Normalization: Sendable, Hashable {
  /// Subtracted, per channel.
  public let mean: [Float]
  /// Divided by, per channel, > 0.
  public let deviation: [Float]

  /// Makes a normalization; both have one value per channel.
  public init(mean: [Float], deviation: [Float]) {
    self.mean = mean
    self.deviation = deviation
  }
}

/// Weights and bias of one convolution or linear node.
public struct DeployedLayer: Sendable, Hashable {
  /// Weights in the precision the layer computes in.
  public enum Weights: Sendable, Hashable {
    /// Float weights in kernel order.
    case float([Float])
    /// Integer weights; the layer's input is a fakeQuantize node.
    case quantized(QuantizedWeights)
  }

  /// The weights.
  public let weights: Weights
  /// Bias per output channel; zeros where the graph has none.
  public let bias: [Float]
}

/// A model ready for inference, in float or int8.
public struct DeployedModel: Sendable, Hashable {
  /// Folded graph: no BatchNorm; with fakeQuantize nodes when quantized.
  public let graph: Graph
  /// Weights and bias by node name.
  public let layers: [String: DeployedLayer]
  /// Scale of every fakeQuantize node, by its name.
  public let activationScales: [String: Float]
  /// Class of each logit.
  public let classNames: [String]
  /// What the input must be.
  public let normalization: Normalization

  /// Whether any layer computes in integers.
  public var isQuantized: Bool { !activationScales.isEmpty }

  /// Folds and, where the graph says so, quantizes trained values.
  ///
  /// Weights are quantized as trained, before folding, so the integers are exactly those of the last training step.
  /// - Parameters:
  ///   - classNames: class of each logit.
  ///   - normalization: what the network expects of pixels.
  ///   - graph: unfolded graph, quantized by `QuantizationPlacement.apply` or float.
  ///   - tensors: its parameters and buffers in torch order, as in a state dict.
  ///   - activationScales: by fakeQuantize node name; others are left out.
  /// - Throws: `QuantizationError.unsupportedGraph` for a BatchNorm that does not follow a convolution or an integer
  ///   layer whose input is not quantized; `.missingValue` for a scale that is missing or not positive and finite;
  ///   `GraphError` for wrong tensors.
  public init(
    graph: Graph, tensors: [NamedTensor], activationScales: [String: Float], classNames: [String],
    normalization: Normalization
  ) throws {
    let (folded, values) = try graph.foldingBatchNorm(tensors: tensors)
    try Self.check(folded, activationScales: activationScales)
    let unfolded = try Self.unfoldedValues(of: graph, tensors: tensors)
    let affines = Dictionary(
      uniqueKeysWithValues: graph.batchNormFolds.map {
        (graph[$0.convolution].name, graph.batchNormAffine($0, values: unfolded))
      })
    let foldedValues = try ParameterLayout(folded).vectors(from: values).parameters
    let layout = ParameterLayout(folded)
    var layers: [String: DeployedLayer] = [:]
    for node in folded.nodes where node.operation.hasWeights {
      guard let weight = layout.parameter(named: "\(node.name).weight") else { continue }
      let order = weight.parameter.weightOrder
      let bias =
        layout.parameter(named: "\(node.name).bias").map { Array(foldedValues[$0.range]) }
        ?? [Float](repeating: 0, count: order.torchShape[0])
      let weights: DeployedLayer.Weights
      if let quantization = node.operation.weightQuantization {
        let trained = order.kernelOrder(fromTorch: unfolded["\(node.name).weight"] ?? [])
        let quantized = QuantizedWeights(quantizing: trained, order: order, quantization: quantization)
        weights = .quantized(try affines[node.name].map { try quantized.scaled(by: $0.map(\.factor)) } ?? quantized)
      } else {
        weights = .float(Array(foldedValues[weight.range]))
      }
      layers[node.name] = DeployedLayer(weights: weights, bias: bias)
    }
    self.graph = folded
    self.layers = layers
    self.activationScales = activationScales.filter { folded.node(named: $0.key) != nil }
    self.classNames = classNames
    self.normalization = normalization
  }

  private static func unfoldedValues(of graph: Graph, tensors: [NamedTensor]) throws -> [String: [Float]] {
    let names = Set(graph.parameters.map(\.name) + graph.buffers.map(\.name))
    return try tensors.filter { names.contains($0.name) }.reduce(into: [:]) { $0[$1.name] = try $1.floats() }
  }

  private static func check(_ graph: Graph, activationScales: [String: Float]) throws {
    for node in graph.nodes {
      if case .batchNorm = node.operation {
        throw QuantizationError(
          .unsupportedGraph, "BatchNorm does not follow a convolution of its own, so it cannot be folded",
          location: node.name)
      }
      if node.operation.weightQuantization != nil {
        guard case .fakeQuantize = graph[node.inputs[0]].operation else {
          throw QuantizationError(
            .unsupportedGraph, "has integer weights but a float input", location: node.name)
        }
      }
      if case .fakeQuantize = node.operation {
        guard let scale = activationScales[node.name], scale > 0, scale.isFinite else {
          throw QuantizationError(
            .missingValue,
            activationScales[node.name].map { "scale \($0) is not positive and finite" } ?? "no scale is known",
            hint: "calibrate, or train at least one step in the quantized phase", location: node.name)
        }
      }
    }
  }
}
