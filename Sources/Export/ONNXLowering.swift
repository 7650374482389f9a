// Graph node -> ONNX nodes and initializers, one case per operation.

import Graph
import Quantization

/// Builds one `GraphProto`; holds what has been emitted so far.
struct ONNXLowering {
  private let model: DeployedModel
  private var proto = Onnx_GraphProto()
  private var valueNames: [NodeID: String] = [:]
  private var usedNames: Set<String> = []
  /// Nodes whose value is [N, C] instead of [N, C, H, W]: everything behind a linear layer.
  private var flatNodes: Set<NodeID> = []

  init(_ model: DeployedModel) { self.model = model }

  mutating func graph(named name: String) throws -> Onnx_GraphProto {
    proto.name = name
    let outputNames = Dictionary(
      model.graph.outputs.map { ($0.node, $0.name) }, uniquingKeysWith: { first, _ in first })
    for node in model.graph.nodes {
      valueNames[node.id] = try claim(outputNames[node.id] ?? node.name)
      try emit(node)
    }
    let input = model.graph[model.graph.input]
    proto.input = [.value(input.name, dimensions: dimensions(of: input))]
    for output in model.graph.outputs {
      if valueNames[output.node] != output.name {
        let name = try claim(output.name)
        proto.node.append(.make("Identity", name: name, inputs: [value(output.node)], output: name))
      }
      proto.output.append(.value(output.name, dimensions: dimensions(of: model.graph[output.node])))
    }
    return proto
  }

  private mutating func emit(_ node: Node) throws {
    let inputs = node.inputs.map { value($0) }
    let isFlat = try isFlat(node)
    if isFlat { flatNodes.insert(node.id) }
    switch node.operation {
    case .input: return
    case .convolution(let convolution):
      let weights = try weightInputs(node)
      append(
        "Conv", node, [inputs[0]] + weights,
        [
          .ints("kernel_shape", [convolution.kernel, convolution.kernel]),
          .ints("pads", [Int](repeating: convolution.padding, count: 4)),
          .ints("strides", [convolution.stride, convolution.stride]),
        ])
    case .linear:
      var input = inputs[0]
      if !flatNodes.contains(node.inputs[0]) {
        let flat = try claim("\(node.name).flatten")
        proto.node.append(.make("Flatten", name: flat, inputs: [input], output: flat, [.int("axis", 1)]))
        input = flat
      }
      append("Gemm", node, [input] + (try weightInputs(node)), [.int("transB", 1)])
    case .batchNorm:
      throw ExportError(.unsupportedGraph, "BatchNorm is not folded", location: node.name)
    case .relu: append("Relu", node, inputs)
    case .add: append("Add", node, inputs)
    case .maxPool(let pool):
      append(
        "MaxPool", node, inputs,
        [
          .ints("kernel_shape", [pool.kernel, pool.kernel]), .ints("pads", [Int](repeating: pool.padding, count: 4)),
          .ints("strides", [pool.stride, pool.stride]),
        ])
    case .globalAveragePool: append("GlobalAveragePool", node, inputs)
    case .upsampleNearest(let factor):
      let scales = try addInitializer(
        .floats("\(node.name).scales", dimensions: [4], [1, 1, Float(factor), Float(factor)]))
      append(
        "Resize", node, [inputs[0], "", scales],
        [
          .string("mode", "nearest"), .string("coordinate_transformation_mode", "asymmetric"),
          .string("nearest_mode", "floor"),
        ])
    case .fakeQuantize(let fakeQuantize): try emit(fakeQuantize, node, input: inputs[0])
    }
  }

  /// Q/DQ of an activation, with a Clip in front where the trained range is not the one of QuantizeLinear.
  private mutating func emit(_ fakeQuantize: FakeQuantize, _ node: Node, input: String) throws {
    guard let scale = model.activationScales[node.name] else {
      throw ExportError(.unsupportedGraph, "no activation scale", location: node.name)
    }
    var input = input
    let range = fakeQuantize.range
    if range.minimum != -128 || range.maximum != 127 {
      let clip = try claim("\(node.name).clip")
      let low = try addInitializer(.floats("\(clip).minimum", dimensions: [], [Float(range.minimum) * scale]))
      let high = try addInitializer(.floats("\(clip).maximum", dimensions: [], [Float(range.maximum) * scale]))
      proto.node.append(.make("Clip", name: clip, inputs: [input, low, high], output: clip))
      input = clip
    }
    let scaleName = try addInitializer(.floats("\(node.name).scale", dimensions: [], [scale]))
    let zeroName = try addInitializer(.int8s("\(node.name).zero_point", dimensions: [], [0]))
    let quantized = try claim("\(node.name).quantize")
    proto.node.append(
      .make("QuantizeLinear", name: quantized, inputs: [input, scaleName, zeroName], output: quantized))
    proto.node.append(
      .make(
        "DequantizeLinear", name: "\(node.name).dequantize", inputs: [quantized, scaleName, zeroName],
        output: value(node.id)))
  }

  /// Names of weight and bias, after emitting their initializers and, for int8, the DequantizeLinear.
  private mutating func weightInputs(_ node: Node) throws -> [String] {
    guard let layer = model.layers[node.name],
      let weight = model.graph.parameters.first(where: { $0.node == node.id && $0.kind == .weight })
    else {
      throw ExportError(.unsupportedGraph, "the model has no weights for this layer", location: node.name)
    }
    let order = weight.weightOrder
    let channels = order.torchShape[0]
    var weightName: String
    switch layer.weights {
    case .float(let values):
      weightName = try addInitializer(
        .floats(weight.name, dimensions: order.torchShape, order.torchOrder(fromKernel: values)))
    case .quantized(let quantized):
      weightName = try addInitializer(.int8s(weight.name, dimensions: order.torchShape, quantized.torchIntegers))
      let scales = try addInitializer(.floats("\(weight.name).scale", dimensions: [channels], quantized.scales))
      let zeros = try addInitializer(
        .int8s("\(weight.name).zero_point", dimensions: [channels], [Int8](repeating: 0, count: channels)))
      let dequantized = try claim("\(weight.name).dequantize")
      proto.node.append(
        .make(
          "DequantizeLinear", name: dequantized, inputs: [weightName, scales, zeros], output: dequantized,
          [.int("axis", 0)]))
      weightName = dequantized
    }
    let bias = try addInitializer(.floats("\(node.name).bias", dimensions: [channels], layer.bias))
    return [weightName, bias]
  }

  private mutating func append(
    _ type: String, _ node: Node, _ inputs: [String], _ attributes: [Onnx_AttributeProto] = []
  ) {
    proto.node.append(.make(type, name: node.name, inputs: inputs, output: value(node.id), attributes))
  }

  private mutating func addInitializer(_ tensor: Onnx_TensorProto) throws -> String {
    proto.initializer.append(tensor)
    return try claim(tensor.name)
  }

  private mutating func claim(_ name: String) throws -> String {
    guard usedNames.insert(name).inserted else {
      throw ExportError(
        .unsupportedGraph, "two values would be called \"\(name)\"", hint: "rename a node or an output", location: name)
    }
    return name
  }

  private func value(_ node: NodeID) -> String { valueNames[node] ?? model.graph[node].name }

  /// Whether a node's value has no spatial axes.
  private func isFlat(_ node: Node) throws -> Bool {
    if case .linear = node.operation { return true }
    let flat = node.inputs.filter(flatNodes.contains)
    guard !flat.isEmpty else { return false }
    switch node.operation {
    case .relu, .fakeQuantize: return true
    case .add where flat.count == 2: return true
    default:
      throw ExportError(
        .unsupportedGraph, "\(node.operation.name) reads the flat output of a linear layer",
        hint: "use a 1x1 convolution instead of the linear layer", location: node.name)
    }
  }

  private func dimensions(of node: Node) -> [Int] {
    flatNodes.contains(node.id)
      ? [node.shape.channels] : [node.shape.channels, node.shape.height, node.shape.width]
  }
}
