// From a deployed model to the stages of a forward pass. Memory is planned for the largest batch; stages read the actual
// number of samples when they run.

import Graph
import Kernels
import Quantization

/// The variable input of a lowered forward pass.
final class InferenceBatch {
  /// Samples of this run.
  var count = 0
}

/// A value that a visitor is shown.
struct InferenceVisit {
  let node: String
  let afterStage: Int
  let values: Tensor
  let countPerSample: Int
}

/// What lowering makes.
struct LoweredInference {
  let builder: ProgramBuilder
  let batch: InferenceBatch
  let input: Tensor
  let logits: Tensor
  let classCount: Int
  let layers: [InferenceLayer]
  let visits: [InferenceVisit]
}

/// The state of lowering one model.
struct InferenceLowering {
  /// One activation: floats, or integers with their scale.
  private struct Value {
    var shape: TensorShape
    var float: Tensor?
    var int8: Tensor?
    var scale: Float = 1
  }

  private let model: DeployedModel
  private let maximumBatch: Int
  private let readerCounts: [Int]
  private let batch = InferenceBatch()
  private var builder: ProgramBuilder
  private var values: [NodeID: Value] = [:]
  private var layers: [InferenceLayer] = []
  private var visits: [InferenceVisit] = []

  init(model: DeployedModel, maximumBatch: Int, threadCount: Int) {
    self.model = model
    self.maximumBatch = maximumBatch
    readerCounts = model.graph.consumers().map(\.count)
    builder = ProgramBuilder(threadCount: threadCount)
  }

  /// Emits all stages.
  mutating func lower() throws -> LoweredInference {
    let graph = model.graph
    guard let output = graph.outputs.first(where: { $0.name == "logits" }), graph[output.node].shape.pixelCount == 1
    else {
      throw TrainingError(
        .unsupported, "the graph has outputs \(graph.outputs.map(\.name)); evaluation needs \"logits\" of one pixel")
    }
    for node in FusedNode.fuse(graph) {
      try emit(node)
      if let float = values[node.output.id]?.float {
        let count = node.output.shape.elementCount
        visits.append(
          InferenceVisit(
            node: node.output.name, afterStage: builder.stages.count - 1, values: float, countPerSample: count))
      }
    }
    return LoweredInference(
      builder: builder, batch: batch, input: float(graph.input), logits: float(output.node),
      classCount: graph[output.node].shape.channels, layers: layers, visits: visits)
  }

  private mutating func emit(_ fused: FusedNode) throws {
    let node = fused.output
    switch fused.kind {
    case .input:
      let count = maximumBatch * node.shape.elementCount
      let tensor = builder.floats(node.name, count: count, lifetime: .persistent)
      values[node.id] = Value(shape: node.shape, float: tensor)
      builder.emitSerial(node.name, using: [tensor]) {}
    case .convolution(let convolution):
      let source = values[fused.sources[0]]!.shape
      try emitLayer(fused, ConvolutionGeometry(convolution, input: source))
    case .linear(let linear):
      try emitLayer(
        fused, .linear(inputChannels: linear.inputChannels, outputChannels: linear.outputChannels))
    case .fakeQuantize(let fakeQuantize): emitQuantize(fused, fakeQuantize.range)
    case .normalization:
      throw TrainingError(
        .unsupported, "BatchNorm is not folded", hint: "deploy the folded graph", location: fused.node.name)
    case .relu, .add, .maxPool, .globalAveragePool, .upsampleNearest: emitWithoutParameters(fused)
    }
  }

  /// The float values of a node; integers are widened once.
  private mutating func float(_ id: NodeID) -> Tensor {
    var value = values[id]!
    if let float = value.float { return float }
    let (int8, scale, perSample, batch) = (value.int8!, value.scale, value.shape.elementCount, batch)
    let name = model.graph[id].name
    let float = builder.floats("\(name) dequantized", count: maximumBatch * perSample)
    builder.emit("\(name) dequantize", using: [int8, float]) { part, parts in
      kernels.dequantize(
        int8.int8s, count: batch.count * perSample, scale: scale, output: float.floats, part: part, of: parts)
    }
    value.float = float
    values[id] = value
    return float
  }

  /// A new tensor for a node's floats.
  private mutating func result(_ node: Node) -> Tensor {
    let isLogits = model.graph.outputNodes.contains(node.id)
    let tensor = builder.floats(
      node.name, count: maximumBatch * node.shape.elementCount, lifetime: isLogits ? .persistent : .transient)
    values[node.id] = Value(shape: node.shape, float: tensor)
    return tensor
  }

  private mutating func emitLayer(_ fused: FusedNode, _ geometry: ConvolutionGeometry) throws {
    guard let deployed = model.layers[fused.node.name] else {
      throw TrainingError(.unsupported, "the model has no weights for this node", location: fused.node.name)
    }
    let batch = batch
    let source = values[fused.sources[0]]!
    if case .quantized(let weights) = deployed.weights, let input = source.int8 {
      let layer = InferenceLayer(
        integers: weights, inputScale: source.scale, bias: deployed.bias, geometry: geometry, &builder)
      layers.append(layer)
      let output = result(fused.output)
      let scratchCount = kernels.int8ScratchCount(layer.plan)
      builder.emit(
        fused.node.name, using: [input, output], scratchPerThread: scratchCount
      ) { scratch, part, parts in
        kernels.convolveInt8(
          layer.plan, samples: batch.count, input: input.int8s, packed: layer.packed.bytes, scales: layer.scales.floats,
          bias: layer.bias.floats, output: output.floats, scratch: scratch, part: part, of: parts)
      }
    } else {
      let input = float(fused.sources[0])
      let weights =
        switch deployed.weights {
        case .float(let values): values
        case .quantized(let quantized): quantized.dequantized
        }
      let layer = InferenceLayer(floats: weights, bias: deployed.bias, geometry: geometry, &builder)
      layers.append(layer)
      let output = result(fused.output)
      let scratchCount = layer.plan.scratchCount
      builder.emit(
        fused.node.name, using: [input, output], scratchPerThread: scratchCount
      ) { scratch, part, parts in
        kernels.convolveForward(
          layer.plan, samples: batch.count, input: input.floats, packed: layer.packed.floats, bias: layer.bias.floats,
          output: output.floats, scratch: scratch, part: part, of: parts)
      }
    }
  }

  private mutating func emitQuantize(_ fused: FusedNode, _ range: IntegerRange) {
    let input = float(fused.sources[0])
    let shape = fused.output.shape
    let (perSample, batch) = (shape.elementCount, batch)
    guard let scale = model.activationScales[fused.node.name] else {
      values[fused.output.id] = values[fused.sources[0]]
      return
    }
    let int8 = builder.tensor(fused.node.name, Int8.self, count: maximumBatch * perSample)
    values[fused.output.id] = Value(shape: shape, int8: int8, scale: scale)
    builder.emit(fused.node.name, using: [input, int8]) { part, parts in
      kernels.quantize(
        input.floats, count: batch.count * perSample, inverseScale: 1 / scale, limit: range.limit,
        lowest: range.minimum, output: int8.int8s, mask: nil, part: part, of: parts)
    }
  }

  private mutating func emitWithoutParameters(_ fused: FusedNode) {
    let inputs = fused.sources.map { float($0) }
    let (input, shape, batch) = (inputs[0], model.graph[fused.sources[0]].shape, batch)
    let perSample = fused.output.shape.elementCount
    let name = fused.output.name
    switch fused.kind {
    case .relu:
      let isOnlyReader = readerCounts[fused.sources[0].index] == 1 && input.lifetime == .transient
      let output = isOnlyReader ? input : result(fused.output)
      values[fused.output.id] = Value(shape: fused.output.shape, float: output)
      builder.emit(name, using: [input, output]) { part, parts in
        kernels.reluForward(
          input.floats, count: batch.count * perSample, output: output.floats, part: part, of: parts)
      }
    case .add(let relu):
      let (other, output) = (inputs[1], result(fused.output))
      builder.emit(name, using: [input, other, output]) { part, parts in
        kernels.add(
          input.floats, other.floats, count: batch.count * perSample, relu: relu, output: output.floats, part: part,
          of: parts)
      }
    case .maxPool(let maxPool):
      let (geometry, output) = (PoolingGeometry(maxPool, input: shape), result(fused.output))
      let argmax = builder.tensor("\(name) argmax", UInt8.self, count: maximumBatch * perSample)
      builder.emit(name, using: [input, output, argmax]) { part, parts in
        kernels.maxPoolForward(
          geometry, samples: batch.count, input: input.floats, output: output.floats, argmax: argmax.uint8s, part: part,
          of: parts)
      }
    case .globalAveragePool:
      let output = result(fused.output)
      builder.emit(name, using: [input, output]) { part, parts in
        kernels.globalAveragePoolForward(
          input.floats, samples: batch.count, pixels: shape.pixelCount, channels: shape.channels,
          output: output.floats, part: part, of: parts)
      }
    case .upsampleNearest(let factor):
      let output = result(fused.output)
      builder.emit(name, using: [input, output]) { part, parts in
        kernels.upsampleNearestForward(
          input.floats, samples: batch.count, height: shape.height, width: shape.width, channels: shape.channels,
          factor: factor, output: output.floats, part: part, of: parts)
      }
    case .input, .convolution, .linear, .normalization, .fakeQuantize:
      preconditionFailure("\(name) is emitted elsewhere")
    }
  }
}
