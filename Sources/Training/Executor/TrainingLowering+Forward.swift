// The forward stages of every operation but quantization and loss.

import Graph
import Kernels

extension TrainingLowering {
  /// Emits the forward stages of a node.
  mutating func emitForward(_ fused: FusedNode) {
    builder.part = fused.part(isBackward: false)
    switch fused.kind {
    case .input: emitInput(fused)
    case .convolution, .linear: emitConvolution(fused)
    case .normalization(_, let residual, let relu): emitNormalization(fused, residual: residual, relu: relu)
    case .fakeQuantize(let fakeQuantize): emitFakeQuantize(fused, fakeQuantize)
    case .relu, .add, .maxPool, .globalAveragePool, .upsampleNearest: emitWithoutParameters(fused)
    }
  }

  /// Scales of integer products: those of the input, by observer, times those of the weights.
  mutating func emitProductScales() {
    let layers = fused.compactMap { convolutions[$0.node.id] }.filter { $0.productScales != nil }
    guard !layers.isEmpty else { return }
    builder.emitSerial("product scales", using: []) { [step] in
      for layer in layers {
        guard let observer = layer.inputObserver, let weights = layer.weightScales, let products = layer.productScales
        else { continue }
        let inputScale = step.activationScales[observer]
        for channel in 0..<layer.plan.geometry.outputChannels {
          products.floats[channel] = inputScale * weights.floats[channel]
        }
      }
    }
  }

  private mutating func emitInput(_ fused: FusedNode) {
    let value = values[fused.output.id]!
    let (float, perShard, step) = (makeFloat(value), value.countPerShard, step)
    builder.emitShardwise("input", using: [float]) { share in
      let start = share.start(perShard)
      forEachBlock(of: share.count(perShard), part: share.part, parts: share.parts) { block, count in
        (float.floats(share) + block).update(from: step.input + start + block, count: count)
      }
    }
    finishForward(value)
  }

  private mutating func emitConvolution(_ fused: FusedNode) {
    let value = values[fused.output.id]!
    let layer = convolutions[fused.node.id]!
    let (plan, samples, step) = (layer.plan, samples, step)
    let label = "\(fused.node.name) forward"
    if let packed = layer.packedInt8, let scales = layer.productScales {
      let input = values[fused.sources[0]]!.int8!
      let output = makeFloat(value)
      let scratchCount = kernels.int8ScratchCount(plan)
      builder.emit(label, using: [input, output], scratchPerThread: scratchCount) { scratch, part, parts in
        kernels.convolveInt8(
          plan, samples: samples, input: input.int8s, packed: packed.bytes, scales: scales.floats,
          bias: layer.bias.map { UnsafePointer($0.floats) }, output: output.floats, scratch: scratch, part: part,
          of: parts)
      }
    } else {
      let input = forwardFloat(fused.sources[0])
      let output = makeFloat(value)
      builder.emit(label, using: [input, output], scratchPerThread: plan.scratchCount) { scratch, part, parts in
        kernels.convolveForward(
          plan, samples: samples, input: input.floats, packed: layer.packedWeights(step),
          bias: layer.bias.map { UnsafePointer($0.floats) }, output: output.floats, scratch: scratch, part: part,
          of: parts)
      }
    }
    finishForward(value)
  }

  private mutating func emitNormalization(_ fused: FusedNode, residual: NodeID?, relu: Bool) {
    let value = values[fused.output.id]!
    let layer = normalizations[fused.node.id]!
    let input = forwardFloat(fused.sources[0])
    let residual = residual.map { forwardFloat($0) }
    let output = makeFloat(value)
    let (rows, channels, step) = (layer.rowsPerShard, layer.channels, step)
    let (mean, variance) = (layer.mean, layer.variance)
    builder.emitShardwise("\(fused.node.name) statistics", using: [input, mean, variance]) { share in
      guard let frozen = step.frozenStatistics else {
        let first = share.start(channels)
        return kernels.batchNormStatistics(
          input.floats(share), rowsPerShard: rows, shards: share.shards.count, channels: channels,
          mean: mean.floats + first, variance: variance.floats + first, part: share.part, of: share.parts)
      }
      for shard in share.shards where share.part == 0 {
        (mean.floats + shard * channels).update(from: frozen + layer.runningMeanOffset, count: channels)
        (variance.floats + shard * channels).update(from: frozen + layer.runningVarianceOffset, count: channels)
      }
    }
    let using = [input, mean, variance, output] + (residual.map { [$0] } ?? [])
    builder.emitShardwise("\(fused.node.name) forward", using: using) { share in
      let first = share.start(channels)
      kernels.batchNormForward(
        input.floats(share), rowsPerShard: rows, shards: share.shards.count, channels: channels,
        mean: mean.floats + first, variance: variance.floats + first, epsilon: layer.epsilon,
        gamma: layer.scale.floats, beta: layer.shift.floats,
        residual: residual.map { UnsafePointer($0.floats(share)) },
        relu: relu, output: output.floats(share), part: share.part, of: share.parts)
    }
    finishForward(value)
  }

  private mutating func emitWithoutParameters(_ fused: FusedNode) {
    let value = values[fused.output.id]!
    let inputs = fused.sources.map { forwardFloat($0) }
    let (input, output) = (inputs[0], makeFloat(value))
    let (samples, perShard, source) = (samples, value.countPerShard, graph[fused.sources[0]].shape)
    let label = "\(fused.node.name) forward"
    switch fused.kind {
    case .relu:
      builder.emitShardwise(label, using: [input, output]) { share in
        kernels.reluForward(
          input.floats(share), count: share.count(perShard), output: output.floats(share), part: share.part,
          of: share.parts)
      }
    case .add(let relu):
      let other = inputs[1]
      builder.emitShardwise(label, using: [input, other, output]) { share in
        kernels.add(
          input.floats(share), other.floats(share), count: share.count(perShard), relu: relu,
          output: output.floats(share), part: share.part, of: share.parts)
      }
    case .maxPool(let maxPool):
      let geometry = PoolingGeometry(maxPool, input: source)
      let argmax = builder.tensor("\(fused.node.name) argmax", UInt8.self, count: value.count)
      value.argmax = argmax
      builder.emit(label, using: [input, output, argmax]) { part, parts in
        kernels.maxPoolForward(
          geometry, samples: samples, input: input.floats, output: output.floats, argmax: argmax.uint8s, part: part,
          of: parts)
      }
    case .globalAveragePool:
      builder.emit(label, using: [input, output]) { part, parts in
        kernels.globalAveragePoolForward(
          input.floats, samples: samples, pixels: source.pixelCount, channels: source.channels, output: output.floats,
          part: part, of: parts)
      }
    case .upsampleNearest(let factor):
      builder.emit(label, using: [input, output]) { part, parts in
        kernels.upsampleNearestForward(
          input.floats, samples: samples, height: source.height, width: source.width, channels: source.channels,
          factor: factor, output: output.floats, part: part, of: parts)
      }
    case .input, .convolution, .linear, .normalization, .fakeQuantize:
      preconditionFailure("\(fused.node.name) is emitted elsewhere")
    }
    finishForward(value)
  }
}

extension PoolingGeometry {
  /// The shape of a graph's max pooling on an input of this shape.
  init(_ maxPool: MaxPool, input: TensorShape) {
    self.init(
      inputHeight: input.height, inputWidth: input.width, channels: input.channels, window: maxPool.kernel,
      stride: maxPool.stride, padding: maxPool.padding)
  }
}
