// The backward stages of every operation, last layer first.

import Graph
import Kernels

extension TrainingLowering {
  /// Emits the backward stages of a node, once all its readers have contributed to its gradient.
  mutating func emitBackward(_ fused: FusedNode) {
    builder.part = fused.part(isBackward: true)
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
      emitReLUMask("\(fused.node.name) mask gradient", gradient, result: value)
      emitSourceGradients(fused, gradient)
    case .add(relu: false): emitSourceGradients(fused, gradient)
    case .maxPool, .globalAveragePool, .upsampleNearest: emitResamplingGradient(fused, gradient)
    }
  }

  /// The weight gradient first: it is what other members wait for.
  private mutating func emitConvolutionGradients(_ fused: FusedNode, _ gradient: Tensor) {
    let layer = convolutions[fused.node.id]!
    emitBiasGradient(fused, gradient, layer)
    if layer.hasIntegerGradients { return emitIntegerGradients(fused, gradient, layer) }
    let (plan, samples, samplesPerShard, pieces) = (layer.plan, samples, assignment.samplesPerShard, gradientPieces)
    let step = step
    let input = backwardFloat(fused.sources[0])
    // Every part reads all pixels, and by tiles transforms them.
    let byTiles = plan.weightGradientTiles(samplesPerShard: samplesPerShard) != nil
    builder.emit(
      "\(fused.node.name) weight gradient", using: [input, gradient], completing: [layer.weightEntry.range],
      partsPerThread: byTiles ? 1 : 2,
      scratchPerThread: plan.weightGradientScratchCount(samplesPerShard: samplesPerShard, pieces: pieces.buffer)
    ) { scratch, part, parts in
      kernels.convolveWeightGradient(
        plan, samplesPerShard: samplesPerShard, pieces: pieces.buffer, input: input.floats,
        gradientOutput: gradient.floats, gradients: layer.weightGradients.pointers, scratch: scratch,
        part: part, of: parts)
    }
    let source = values[fused.sources[0]]!
    guard source.requiresGradient else { return }
    let (target, accumulate) = gradientTarget(source)
    builder.emit(
      "\(fused.node.name) input gradient", using: [gradient, target], scratchPerThread: plan.scratchCount
    ) { scratch, part, parts in
      kernels.convolveInputGradient(
        plan, samples: samples, gradientOutput: gradient.floats,
        packed: layer.packedGradient.map { UnsafePointer($0.floats) } ?? layer.packedWeights(step),
        gradientInput: target.floats, accumulate: accumulate, scratch: scratch, part: part, of: parts)
    }
  }

  private mutating func emitBiasGradient(_ fused: FusedNode, _ gradient: Tensor, _ layer: ConvolutionLayer) {
    guard let entry = layer.biasEntry, let table = layer.biasGradients else { return }
    let (geometry, pieces) = (layer.plan.geometry, gradientPieces)
    let rows = assignment.samplesPerShard * geometry.outputHeight * geometry.outputWidth
    builder.emit("\(fused.node.name) bias gradient", using: [gradient], completing: [entry.range]) { part, parts in
      kernels.biasGradient(
        gradient.floats, rowsPerShard: rows, channels: geometry.outputChannels, pieces: pieces.buffer,
        outputs: table.pointers, part: part, of: parts)
    }
  }

  private mutating func emitNormalizationGradients(
    _ fused: FusedNode, _ gradient: Tensor, residual: NodeID?, relu: Bool
  ) {
    let value = values[fused.output.id]!
    let layer = normalizations[fused.node.id]!
    let name = fused.node.name
    let (shards, rows, channels) = (shardCount, layer.rowsPerShard, layer.channels)
    let input = backwardFloat(fused.sources[0])
    // With a residual the masked gradient is needed as such; without, the kernels mask on the way by a float.
    var activation: Tensor?
    if relu, !isMaskedByReader(fused.output.id) {
      if residual == nil, !value.keepsSigns {
        activation = backwardFloat(fused.output.id)
      } else {
        emitReLUMask("\(name) mask gradient", gradient, result: value)
      }
    }
    let sums = builder.floats("\(name) sums", count: shards * channels)
    let normalizedSums = builder.floats("\(name) normalized sums", count: shards * channels)
    let read = [input, gradient, layer.mean, layer.variance, sums, normalizedSums] + (activation.map { [$0] } ?? [])
    builder.emitShardwise("\(name) sums", using: read) { share in
      let first = share.start(channels)
      kernels.batchNormBackwardReduce(
        input.floats(share), gradient: gradient.floats(share),
        activation: activation.map { UnsafePointer($0.floats(share)) }, rowsPerShard: rows,
        shards: share.shards.count, channels: channels, mean: layer.mean.floats + first,
        variance: layer.variance.floats + first, epsilon: layer.epsilon, sumGradient: sums.floats + first,
        sumGradientNormalized: normalizedSums.floats + first, part: share.part, of: share.parts)
    }
    let pieces = gradientPieces
    builder.emitSerialLater(
      "\(name) parameter gradients", using: [sums, normalizedSums],
      completing: [layer.scaleEntry.range, layer.shiftEntry.range]
    ) {
      kernels.combineShards(
        normalizedSums.floats, count: channels, pieces: pieces.buffer, outputs: layer.scaleGradients.pointers, part: 0,
        of: 1)
      kernels.combineShards(
        sums.floats, count: channels, pieces: pieces.buffer, outputs: layer.shiftGradients.pointers, part: 0, of: 1)
    }

    let source = values[fused.sources[0]]!
    let target = residual == nil ? gradient : contribution(to: source)
    builder.emitShardwise("\(name) input gradient", using: read + [target]) { [step] share in
      let first = share.start(channels)
      // Frozen statistics do not depend on the batch: the gradient has no terms through them.
      let isFrozen = step.frozenStatistics != nil
      kernels.batchNormBackwardInput(
        input.floats(share), gradient: gradient.floats(share),
        activation: activation.map { UnsafePointer($0.floats(share)) }, rowsPerShard: rows,
        shards: share.shards.count, channels: channels, mean: layer.mean.floats + first,
        variance: layer.variance.floats + first, epsilon: layer.epsilon, gamma: layer.scale.floats,
        sumGradient: isFrozen ? layer.zeros.floats : sums.floats + first,
        sumGradientNormalized: isFrozen ? layer.zeros.floats : normalizedSums.floats + first,
        gradientInput: target.floats(share), part: share.part, of: share.parts)
    }
    give(target, to: source, isRounded: false)
    if let residual { give(gradient, to: values[residual]!, isRounded: value.gradientIsRounded) }
  }

  /// Both inputs of a sum have its gradient: the second gets a copy, the first the tensor itself.
  private mutating func emitSourceGradients(_ fused: FusedNode, _ gradient: Tensor) {
    let value = values[fused.output.id]!
    let perShard = value.countPerShard
    for id in fused.sources.dropFirst() where values[id]!.requiresGradient {
      let (target, accumulate) = gradientTarget(values[id]!)
      let label = "\(fused.node.name) copy gradient"
      if accumulate {
        emitAccumulate(label, gradient, into: target, perShard: perShard)
        continue
      }
      builder.emitShardwise(label, using: [gradient, target]) { share in
        forEachBlock(of: share.count(perShard), part: share.part, parts: share.parts) { block, count in
          (target.floats(share) + block).update(from: gradient.floats(share) + block, count: count)
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
      let argmax = values[fused.output.id]!.argmax!
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
