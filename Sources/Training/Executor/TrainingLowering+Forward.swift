// The forward stages of every operation but quantization and loss.

import Graph
import Kernels

extension TrainingLowering {
  /// Emits the forward stages of a node.
  mutating func emitForward(_ fused: FusedNode) {
    switch fused.kind {
    case .input: emitInput(fused)
    case .convolution, .linear: emitConvolution(fused)
    case .normalization(_, let residual, let relu): emitNormalization(fused, residual: residual, relu: relu)
    case .fakeQuantize(let fakeQuantize): emitFakeQuantize(fused, fakeQuantize)
    case .relu, .add, .maxPool, .globalAveragePool, .upsampleNearest: emitWithoutParameters(fused)
    }
  }

  private mutating func emitInput(_ fused: FusedNode) {
    let value = values[fused.output.id]!
    let (float, count, step) = (makeFloat(value), value.count, step)
    builder.emit("input", using: [float]) { part, parts in
      let range = count * part / parts..<count * (part + 1) / parts
      (float.floats + range.lowerBound).update(from: step.input + range.lowerBound, count: range.count)
    }
    finishForward(value)
  }

  private mutating func emitConvolution(_ fused: FusedNode) {
    let value = values[fused.output.id]!
    let layer = convolutions[fused.node.id]!
    let (plan, samples, step) = (layer.plan, samples, step)
    let (label, channels) = ("\(fused.node.name) forward", layer.plan.geometry.outputChannels)
    if let observer = layer.inputObserver, let packed = layer.packedInt8, let scales = layer.productScales,
      let weightScales = layer.weightScales
    {
      let input = values[fused.sources[0]]!.int8!
      let output = makeFloat(value)
      builder.emitSerial("\(fused.node.name) product scales", using: []) {
        let inputScale = step.activationScales[observer]
        for channel in 0..<channels { scales.floats[channel] = inputScale * weightScales.floats[channel] }
      }
      builder.emit(label, using: [input, output]) { part, parts in
        kernels.convolveInt8(
          plan, samples: samples, input: input.int8s, packed: packed.bytes, scales: scales.floats,
          bias: layer.bias.map { UnsafePointer($0.floats) }, output: output.floats, part: part, of: parts)
      }
    } else if let packed = layer.packed {
      let input = forwardFloat(fused.sources[0])
      let output = makeFloat(value)
      builder.emit(label, using: [input, output]) { part, parts in
        kernels.convolveForward(
          plan, samples: samples, input: input.floats, packed: packed.floats,
          bias: layer.bias.map { UnsafePointer($0.floats) }, output: output.floats, part: part, of: parts)
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
    let (shards, rows, channels, step) = (shardCount, layer.rowsPerShard, layer.channels, step)
    let (mean, variance) = (layer.mean, layer.variance)
    builder.emit("\(fused.node.name) statistics", using: [input, mean, variance]) { part, parts in
      guard let frozen = step.frozenStatistics else {
        return kernels.batchNormStatistics(
          input.floats, rowsPerShard: rows, shards: shards, channels: channels, mean: mean.floats,
          variance: variance.floats, part: part, of: parts)
      }
      for shard in shards * part / parts..<shards * (part + 1) / parts {
        (mean.floats + shard * channels).update(from: frozen + layer.runningMeanOffset, count: channels)
        (variance.floats + shard * channels).update(from: frozen + layer.runningVarianceOffset, count: channels)
      }
    }
    let using = [input, mean, variance, output] + (residual.map { [$0] } ?? [])
    builder.emit("\(fused.node.name) forward", using: using) { part, parts in
      kernels.batchNormForward(
        input.floats, rowsPerShard: rows, shards: shards, channels: channels, mean: mean.floats,
        variance: variance.floats, epsilon: layer.epsilon, gamma: layer.scale.floats, beta: layer.shift.floats,
        residual: residual.map { UnsafePointer($0.floats) }, relu: relu, output: output.floats, part: part, of: parts)
    }
    finishForward(value)
  }

  private mutating func emitWithoutParameters(_ fused: FusedNode) {
    let value = values[fused.output.id]!
    let inputs = fused.sources.map { forwardFloat($0) }
    let (input, output) = (inputs[0], makeFloat(value))
    let (samples, count, source) = (samples, value.count, graph[fused.sources[0]].shape)
    let label = "\(fused.node.name) forward"
    switch fused.kind {
    case .relu:
      builder.emit(label, using: [input, output]) { part, parts in
        kernels.reluForward(input.floats, count: count, output: output.floats, part: part, of: parts)
      }
    case .add(let relu):
      let other = inputs[1]
      builder.emit(label, using: [input, other, output]) { part, parts in
        kernels.add(
          input.floats, other.floats, count: count, relu: relu, output: output.floats, part: part, of: parts)
      }
    case .maxPool(let maxPool):
      let geometry = PoolingGeometry(maxPool, input: source)
      let argmax = builder.tensor("\(fused.node.name) argmax", UInt8.self, count: count)
      value.mask = argmax
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
