// The backward stages of every operation, last layer first.

import Graph
import Kernels

extension TrainingLowering {
  /// Emits the backward stages of a node, once all its readers have contributed to its gradient.
  mutating func emitBackward(_ fused: FusedNode) {
    guard let value = values[fused.output.id], value.node.id == fused.output.id, value.requiresGradient,
      let gradient = finishedGradient(value)
    else { return }
    switch fused.kind {
    case .input: break
    case .convolution, .linear: emitConvolutionGradients(fused, gradient)
    case .normalization(_, let residual, let relu):
      emitNormalizationGradients(fused, gradient, residual: residual, relu: relu)
    case .fakeQuantize: emitFakeQuantizeGradient(fused, gradient)
    case .relu, .add(relu: true):
      guard !isMaskedByReader(fused.output.id) else { return emitSourceGradients(fused, gradient) }
      let activation = backwardFloat(fused.output.id)
      let count = value.count
      builder.emit("\(fused.node.name) mask gradient", using: [gradient, activation]) { part, parts in
        kernels.reluBackward(
          gradient.floats, activation: activation.floats, count: count, gradientInput: gradient.floats,
          accumulate: false, part: part, of: parts)
      }
      emitSourceGradients(fused, gradient)
    case .add(relu: false): emitSourceGradients(fused, gradient)
    case .maxPool, .globalAveragePool, .upsampleNearest: emitResamplingGradient(fused, gradient)
    }
  }

  /// The weight gradient first: it is what other members wait for.
  private mutating func emitConvolutionGradients(_ fused: FusedNode, _ gradient: Tensor) {
    let layer = convolutions[fused.node.id]!
    let (plan, samples, samplesPerShard, pieces) = (layer.plan, samples, assignment.samplesPerShard, localPieces)
    let input = backwardFloat(fused.sources[0])
    builder.emit("\(fused.node.name) weight gradient", using: [input, gradient]) { part, parts in
      kernels.convolveWeightGradient(
        plan, samplesPerShard: samplesPerShard, pieces: pieces.buffer, input: input.floats,
        gradientOutput: gradient.floats, gradients: layer.weightGradients.pointers, part: part, of: parts)
    }
    markWritten(layer.weightEntry.range)
    if let entry = layer.biasEntry, let table = layer.biasGradients {
      let geometry = plan.geometry
      let rows = samplesPerShard * geometry.outputHeight * geometry.outputWidth
      builder.emit("\(fused.node.name) bias gradient", using: [gradient]) { part, parts in
        kernels.biasGradient(
          gradient.floats, rowsPerShard: rows, channels: geometry.outputChannels, pieces: pieces.buffer,
          outputs: table.pointers, part: part, of: parts)
      }
      markWritten(entry.range)
    }
    guard let packed = layer.packedGradient else { return }
    let (target, accumulate) = gradientTarget(values[fused.sources[0]]!)
    builder.emit("\(fused.node.name) input gradient", using: [gradient, target]) { part, parts in
      kernels.convolveInputGradient(
        plan, samples: samples, gradientOutput: gradient.floats, packed: packed.floats, gradientInput: target.floats,
        accumulate: accumulate, part: part, of: parts)
    }
  }

  private mutating func emitNormalizationGradients(
    _ fused: FusedNode, _ gradient: Tensor, residual: NodeID?, relu: Bool
  ) {
    let value = values[fused.output.id]!
    let layer = normalizations[fused.node.id]!
    let name = fused.node.name
    let (shards, rows, channels, count) = (shardCount, layer.rowsPerShard, layer.channels, value.count)
    let input = backwardFloat(fused.sources[0])
    // With a residual the masked gradient is needed as such; without, the kernels mask on the way.
    var activation: Tensor?
    if relu, !isMaskedByReader(fused.output.id) {
      let result = backwardFloat(fused.output.id)
      if residual == nil {
        activation = result
      } else {
        builder.emit("\(name) mask gradient", using: [gradient, result]) { part, parts in
          kernels.reluBackward(
            gradient.floats, activation: result.floats, count: count, gradientInput: gradient.floats,
            accumulate: false, part: part, of: parts)
        }
      }
    }
    let sums = builder.floats("\(name) sums", count: shards * channels)
    let normalizedSums = builder.floats("\(name) normalized sums", count: shards * channels)
    let read = [input, gradient, layer.mean, layer.variance, sums, normalizedSums] + (activation.map { [$0] } ?? [])
    builder.emit("\(name) sums", using: read) { part, parts in
      kernels.batchNormBackwardReduce(
        input.floats, gradient: gradient.floats, activation: activation.map { UnsafePointer($0.floats) },
        rowsPerShard: rows, shards: shards, channels: channels, mean: layer.mean.floats,
        variance: layer.variance.floats, epsilon: layer.epsilon, sumGradient: sums.floats,
        sumGradientNormalized: normalizedSums.floats, part: part, of: parts)
    }
    let (pieces, step) = (localPieces, step)
    builder.emitSerial("\(name) parameter gradients", using: [sums, normalizedSums]) {
      kernels.combineShards(
        normalizedSums.floats, count: channels, pieces: pieces.buffer, outputs: layer.scaleGradients.pointers, part: 0,
        of: 1)
      kernels.combineShards(
        sums.floats, count: channels, pieces: pieces.buffer, outputs: layer.shiftGradients.pointers, part: 0, of: 1)
      // Frozen statistics do not depend on the batch: the gradient has no terms through them.
      if step.frozenStatistics != nil {
        sums.floats.update(repeating: 0, count: shards * channels)
        normalizedSums.floats.update(repeating: 0, count: shards * channels)
      }
    }
    markWritten(layer.scaleEntry.range)
    markWritten(layer.shiftEntry.range)

    let source = values[fused.sources[0]]!
    let inPlace = residual == nil
    let target = inPlace ? gradient : contribution(to: source)
    builder.emit("\(name) input gradient", using: read + [target]) { part, parts in
      kernels.batchNormBackwardInput(
        input.floats, gradient: gradient.floats, activation: activation.map { UnsafePointer($0.floats) },
        rowsPerShard: rows, shards: shards, channels: channels, mean: layer.mean.floats,
        variance: layer.variance.floats, epsilon: layer.epsilon, gamma: layer.scale.floats, sumGradient: sums.floats,
        sumGradientNormalized: normalizedSums.floats, gradientInput: target.floats, part: part, of: parts)
    }
    give(target, to: source, isRounded: false)
    if let residual { give(gradient, to: values[residual]!, isRounded: value.gradientIsRounded) }
  }

  /// Both inputs of a sum have its gradient: the second gets a copy, the first the tensor itself.
  private mutating func emitSourceGradients(_ fused: FusedNode, _ gradient: Tensor) {
    let value = values[fused.output.id]!
    let count = value.count
    for id in fused.sources.dropFirst() where values[id]!.requiresGradient {
      let (target, accumulate) = gradientTarget(values[id]!)
      builder.emit("\(fused.node.name) copy gradient", using: [gradient, target]) { part, parts in
        if accumulate {
          kernels.accumulate(gradient.floats, count: count, into: target.floats, part: part, of: parts)
        } else {
          let range = count * part / parts..<count * (part + 1) / parts
          (target.floats + range.lowerBound).update(from: gradient.floats + range.lowerBound, count: range.count)
        }
      }
    }
    give(gradient, to: values[fused.sources[0]]!, isRounded: value.gradientIsRounded)
  }

  private mutating func emitResamplingGradient(_ fused: FusedNode, _ gradient: Tensor) {
    let source = values[fused.sources[0]]!
    guard source.requiresGradient else { return }
    let (samples, shape) = (samples, source.node.shape)
    let target = contribution(to: source)
    let label = "\(fused.node.name) input gradient"
    switch fused.kind {
    case .maxPool(let maxPool):
      let geometry = PoolingGeometry(maxPool, input: shape)
      let argmax = values[fused.output.id]!.mask!
      builder.emit(label, using: [gradient, argmax, target]) { part, parts in
        kernels.maxPoolBackward(
          geometry, samples: samples, gradientOutput: gradient.floats, argmax: argmax.uint8s,
          gradientInput: target.floats, part: part, of: parts)
      }
    case .globalAveragePool:
      builder.emit(label, using: [gradient, target]) { part, parts in
        kernels.globalAveragePoolBackward(
          gradient.floats, samples: samples, pixels: shape.pixelCount, channels: shape.channels,
          gradientInput: target.floats, part: part, of: parts)
      }
    case .upsampleNearest(let factor):
      builder.emit(label, using: [gradient, target]) { part, parts in
        kernels.upsampleNearestBackward(
          gradient.floats, samples: samples, height: shape.height, width: shape.width, channels: shape.channels,
          factor: factor, gradientInput: target.floats, part: part, of: parts)
      }
    default: preconditionFailure("\(fused.node.name) does not resample")
    }
    give(target, to: source, isRounded: false)
  }
}
