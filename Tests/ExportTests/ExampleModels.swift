// Small models with made-up but plausible values, for structure and parity tests.

import Graph
import Quantization

/// Deployed models whose values are a function of names and indices alone.
enum ExampleModels {
  /// Pseudo-random values in -1..<1, a function of the name.
  static func values(_ name: String, _ count: Int) -> [Float] {
    var state = name.utf8.reduce(UInt64(17)) { $0 &* 31 &+ UInt64($1) }
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(Int64(bitPattern: state) >> 40) * 0x1p-23
    }
  }

  /// A state dict for a graph: weights of unit gain, positive variances, BatchNorm factors of both signs.
  static func tensors(of graph: Graph) -> [NamedTensor] {
    var tensors: [NamedTensor] = graph.parameters.map { parameter in
      let gain = parameter.kind == .weight ? (6 / Float(parameter.fanIn)).squareRoot() : 1
      let values = values(parameter.name, parameter.elementCount).map { $0 * gain }
      return NamedTensor(name: parameter.name, shape: parameter.torchShape, floats: values)
    }
    for buffer in graph.buffers {
      let values = values(buffer.name, buffer.elementCount).map {
        buffer.kind == .runningVariance ? $0.magnitude + 0.3 : $0 * 0.2
      }
      tensors.append(NamedTensor(name: buffer.name, shape: [buffer.elementCount], floats: values))
    }
    return tensors
  }

  /// Folds a graph with made-up values; quantized graphs get the given scale everywhere.
  static func deploy(_ graph: Graph, scale: Float = 0.03) throws -> DeployedModel {
    let scales = graph.fakeQuantizeNodes.enumerated().map { ($1.name, scale * Float($0 % 3 + 1)) }
    return try DeployedModel(
      graph: graph, tensors: tensors(of: graph), activationScales: Dictionary(uniqueKeysWithValues: scales),
      classNames: ["good", "scratch", "o'clock"], normalization: Normalization(mean: [31.5], deviation: [64]))
  }

  /// ResNet-10 of 8 channels with the pooled stem, three classes.
  static func resNet(options: QuantizationPlacement.Options? = QuantizationPlacement.Options()) throws -> DeployedModel
  {
    let graph = try ResNet.build(
      depth: 10, width: 0.125, input: TensorShape(height: 48, width: 40, channels: 1), classes: 3)
    return try deploy(options.map { try QuantizationPlacement.apply(to: graph, options: $0) } ?? graph)
  }

  /// Two levels with a lateral connection, nearest upsampling and two outputs.
  static func pyramid() throws -> DeployedModel {
    var graph = try Graph(input: TensorShape(height: 8, width: 12, channels: 1))
    let fine = try graph.relu(
      "fine.relu",
      graph.convolution(
        "fine", graph.input, outputChannels: 8, kernel: 3, padding: 1, hasBias: true))
    let coarse = try graph.convolution("coarse", fine, outputChannels: 8, kernel: 3, stride: 2, padding: 1)
    let up = try graph.upsampleNearest("up", coarse, factor: 2)
    let merged = try graph.add("merge", graph.convolution("lateral", fine, outputChannels: 8, kernel: 1), up)
    try graph.addOutput("classes", graph.convolution("classes", merged, outputChannels: 3, kernel: 1, hasBias: true))
    try graph.addOutput("coarse", coarse)
    try graph.addOutput("coarse.again", coarse)
    return try deploy(QuantizationPlacement.apply(to: graph))
  }
}
