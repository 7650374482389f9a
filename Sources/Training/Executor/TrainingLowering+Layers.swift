// What layers with parameters own: packed weights, scales, vectors, and their places in the sum vector.

import Graph
import Kernels

/// A convolution, or a linear layer as a 1x1 convolution of a 1x1 image.
final class ConvolutionLayer {
  let node: Node
  let plan: ConvolutionPlan
  let weightEntry: ParameterLayout.ParameterEntry
  let biasEntry: ParameterLayout.ParameterEntry?
  let quantization: WeightQuantization?
  let weightGradients: PieceTable
  let biasGradients: PieceTable?
  /// Bias [K] in Float.
  var bias: Tensor?
  /// For `convolveForward`; absent when the forward pass is in INT8, or reads the state's weights.
  var packed: Tensor?
  /// For `convolveInputGradient`; absent when the input needs no gradient, has it from integers, or from `packed`.
  var packedGradient: Tensor?
  /// Whether both gradients are products of integers: input and weights are int8, and output channels come in pairs.
  var hasIntegerGradients = false
  /// For `convolveInputGradientInt16`, by how much a gradient of 1 reaches each channel [C], and the largest integer that sums
  /// therefore allow a gradient to have [1].
  var packedGradientInt16: Tensor?
  var magnitudes: Tensor?
  var gradientLimit: Tensor?
  /// For `convolveInt8`.
  var packedInt8: Tensor?
  /// Scale of the weights [K] and of the products [K].
  var weightScales: Tensor?
  var productScales: Tensor?
  /// Observer of the int8 input.
  var inputObserver: Int?

  init(
    node: Node, geometry: ConvolutionGeometry, weightEntry: ParameterLayout.ParameterEntry,
    biasEntry: ParameterLayout.ParameterEntry?, quantization: WeightQuantization?, weightGradients: PieceTable,
    biasGradients: PieceTable?
  ) {
    self.node = node
    plan = ConvolutionPlan(geometry)
    self.weightEntry = weightEntry
    self.biasEntry = biasEntry
    self.quantization = quantization
    self.weightGradients = weightGradients
    self.biasGradients = biasGradients
  }

  /// The layer's weights in the flat vector.
  func stateWeights(_ step: StepInputs) -> UnsafePointer<Float> {
    guard let weights = step.weights else { preconditionFailure("\(node.name): no weights are loaded") }
    return weights + weightEntry.offset
  }

  /// Weights for `convolveForward`: packed ones, or the state's, which lie as packing would leave them.
  func packedWeights(_ step: StepInputs) -> UnsafePointer<Float> {
    packed.map { UnsafePointer($0.floats) } ?? stateWeights(step)
  }
}

extension ConvolutionGeometry {
  /// The shape of a graph's convolution on an input of this shape.
  init(_ convolution: Convolution, input: TensorShape) {
    self.init(
      inputHeight: input.height, inputWidth: input.width, inputChannels: convolution.inputChannels,
      kernelHeight: convolution.kernel, kernelWidth: convolution.kernel, stride: convolution.stride,
      padding: convolution.padding, outputChannels: convolution.outputChannels)
  }
}

/// A BatchNorm with statistics per shard.
final class NormalizationLayer {
  let node: Node
  let channels: Int
  let rowsPerShard: Int
  let epsilon: Float
  let scaleEntry: ParameterLayout.ParameterEntry
  let shiftEntry: ParameterLayout.ParameterEntry
  /// Offsets of the running statistics in the buffer vector.
  let runningMeanOffset: Int
  let runningVarianceOffset: Int
  let scaleGradients: PieceTable
  let shiftGradients: PieceTable
  let batchMeans: PieceTable
  let batchVariances: PieceTable
  /// gamma and beta [C].
  let scale: Tensor
  let shift: Tensor
  /// Statistics in use [S, C].
  let mean: Tensor
  let variance: Tensor
  /// Sums of the gradient under frozen statistics [S, C].
  let zeros: Tensor

  init(_ node: Node, _ batchNorm: BatchNorm, _ lowering: inout TrainingLowering) throws {
    let (name, layout) = (node.name, lowering.layout)
    let shards = lowering.shardCount
    self.node = node
    channels = batchNorm.channels
    epsilon = batchNorm.epsilon
    rowsPerShard = lowering.assignment.samplesPerShard * node.shape.pixelCount
    guard rowsPerShard > 1 else {
      throw TrainingError(
        .unsupported, "BatchNorm over one value per channel and shard has no variance",
        hint: "use fewer virtual shards or a larger batch", location: name)
    }
    scaleEntry = lowering.parameter(node, "weight")
    shiftEntry = lowering.parameter(node, "bias")
    guard let mean = layout.buffer(named: "\(name).running_mean"),
      let variance = layout.buffer(named: "\(name).running_var"),
      let slot = lowering.reduction.batchNorms.first(where: { $0.name == name })
    else { preconditionFailure("layout or reduction plan without \(name): they are not this graph's") }
    runningMeanOffset = mean.offset
    runningVarianceOffset = variance.offset
    scaleGradients = lowering.pieceTable(offset: scaleEntry.offset)
    shiftGradients = lowering.pieceTable(offset: shiftEntry.offset)
    batchMeans = lowering.pieceTable(offset: slot.meanOffset)
    batchVariances = lowering.pieceTable(offset: slot.varianceOffset)
    scale = lowering.builder.floats("\(name).weight", count: channels, lifetime: .persistent)
    shift = lowering.builder.floats("\(name).bias", count: channels, lifetime: .persistent)
    self.mean = lowering.builder.floats("\(name) mean", count: shards * channels)
    self.variance = lowering.builder.floats("\(name) variance", count: shards * channels)
    zeros = lowering.builder.floats("\(name) zeros", count: shards * channels, lifetime: .persistent)
  }
}

extension TrainingLowering {
  /// Makes the layer of a node with parameters.
  mutating func declareParameters(of fused: FusedNode) throws {
    switch fused.kind {
    case .convolution(let convolution):
      declare(
        fused, ConvolutionGeometry(convolution, input: values[fused.sources[0]]!.node.shape), convolution.hasBias,
        convolution.weightQuantization)
    case .linear(let linear):
      let geometry = ConvolutionGeometry.linear(
        inputChannels: linear.inputChannels, outputChannels: linear.outputChannels)
      declare(fused, geometry, linear.hasBias, linear.weightQuantization)
    case .normalization(let batchNorm, _, _):
      normalizations[fused.node.id] = try NormalizationLayer(fused.node, batchNorm, &self)
    case .fakeQuantize where precision == .quantized:
      values[fused.output.id]!.observer = observerIndex(fused.node)
    default: break
    }
  }

  private mutating func declare(
    _ fused: FusedNode, _ geometry: ConvolutionGeometry, _ hasBias: Bool, _ quantization: WeightQuantization?
  ) {
    let node = fused.node
    let source = values[fused.sources[0]]!
    let weightEntry = parameter(node, "weight")
    let biasEntry = hasBias ? parameter(node, "bias") : nil
    let layer = ConvolutionLayer(
      node: node, geometry: geometry, weightEntry: weightEntry, biasEntry: biasEntry,
      quantization: precision == .quantized ? quantization : nil,
      weightGradients: pieceTable(offset: weightEntry.offset),
      biasGradients: biasEntry.map { pieceTable(offset: $0.offset) })
    let (plan, outputs) = (layer.plan, geometry.outputChannels)
    if hasBias { layer.bias = builder.floats("\(node.name).bias", count: outputs, lifetime: .persistent) }
    // One scale for the whole tensor needs all ranges first: every member then finds it for itself.
    let lifetime: Tensor.Lifetime = layer.quantization?.granularity == .perChannel ? .shared : .persistent
    if layer.quantization != nil {
      layer.weightScales = builder.floats("\(node.name) weight scales", count: outputs, lifetime: lifetime)
    }
    if layer.quantization != nil, let observer = source.observer {
      layer.inputObserver = observer
      layer.productScales = builder.floats("\(node.name) product scales", count: outputs, lifetime: .persistent)
      layer.packedInt8 = builder.tensor(
        "\(node.name) packed int8", UInt8.self, count: plan.packedInt8ByteCount, lifetime: lifetime)
      layer.hasIntegerGradients = outputs % 2 == 0
    } else if layer.quantization != nil || precision == .fp16 || !plan.weightsArePacked {
      let isShared = precision == .fp16 && plan.weightsArePacked
      layer.packed = builder.floats(
        "\(node.name) packed", count: plan.packedWeightCount, lifetime: isShared ? .shared : .persistent)
    }
    if source.requiresGradient, layer.hasIntegerGradients {
      layer.packedGradientInt16 = builder.tensor(
        "\(node.name) packed for gradient", Int16.self, count: plan.packedInputGradientWeightCount,
        lifetime: .shared)
      layer.gradientLimit = builder.floats("\(node.name) gradient limit", count: 1, lifetime: .persistent)
    } else if source.requiresGradient, precision != .calibration, !plan.sharesPackedWeights {
      layer.packedGradient = builder.floats(
        "\(node.name) packed for gradient", count: plan.packedInputGradientWeightCount, lifetime: .persistent)
    }
    convolutions[node.id] = layer
  }

  /// The place of a fake-quantize node in the maxima vector.
  func observerIndex(_ node: Node) -> Int {
    guard let index = reduction.observerNames.firstIndex(of: node.name) else {
      preconditionFailure("the reduction plan has no observer \(node.name); it is not this graph's")
    }
    return index
  }
}
