// Gradients of a convolution of integers by integers: its output's gradient becomes int16, and both products are exact.
//
// With dy[k] the gradient, s[k] the weights' scales and x, w the integers (Decision 0017):
//   q[k] = round(dy[k] * s[k] / g)   g: one scale per shard, the largest |dy[k] * s[k]| / limit
//   dx = g * sum q w                 dw[k] = sum x q[k] * (input scale * g / s[k])
// The limit is 32,767, or less where a sum over w could leave int32. A gradient that is not a number makes g one, and so
// everything that comes of it.

import Graph
import Kernels

extension TrainingLowering {
  /// Emits the limit of a gradient that follows from the weights for its product.
  mutating func emitGradientLimit(_ layer: ConvolutionLayer) {
    guard let magnitudes = layer.magnitudes, let limit = layer.gradientLimit else { return }
    let channels = layer.plan.geometry.inputChannels
    builder.emitSerial("\(layer.node.name) gradient limit", using: [magnitudes]) {
      let largest = UnsafeBufferPointer(start: magnitudes.int32s, count: channels).max() ?? 0
      limit.floats[0] = Float(min(32_767, Int32.max / max(1, largest)))
    }
  }

  /// Emits the gradients of weights and input.
  mutating func emitIntegerGradients(_ fused: FusedNode, _ gradient: Tensor, _ layer: ConvolutionLayer) {
    let (plan, samples, samplesPerShard, pieces) = (layer.plan, samples, assignment.samplesPerShard, gradientPieces)
    let name = fused.node.name
    let input = values[fused.sources[0]]!
    let quantized = emitGradientQuantization(fused, gradient, layer)
    builder.emit(
      "\(name) weight gradient", using: [input.int8!, quantized.integers, quantized.products],
      completing: [layer.weightEntry.range], partsPerThread: 2
    ) { part, parts in
      kernels.convolveWeightGradientInt16(
        plan, samplesPerShard: samplesPerShard, pieces: pieces.buffer, input: input.int8!.int8s,
        gradientOutput: quantized.integers.int16s, scales: quantized.products.floats,
        gradients: layer.weightGradients.pointers, part: part, of: parts)
    }
    guard let packed = layer.packedGradientInt16 else { return }
    let (target, accumulate) = gradientTarget(input)
    builder.emit("\(name) input gradient", using: [quantized.integers, quantized.scales, target]) { part, parts in
      kernels.convolveInputGradientInt16(
        plan, samples: samples, samplesPerShard: samplesPerShard, gradientOutput: quantized.integers.int16s,
        packed: packed.int16s, scales: quantized.scales.floats, gradientInput: target.floats, accumulate: accumulate,
        part: part, of: parts)
    }
  }

  /// The gradient as int16, its scales [S], and what a product with the input is worth [S, K].
  private mutating func emitGradientQuantization(
    _ fused: FusedNode, _ gradient: Tensor, _ layer: ConvolutionLayer
  ) -> (integers: Tensor, scales: Tensor, products: Tensor) {
    let (name, step, channels) = (fused.node.name, step, layer.plan.geometry.outputChannels)
    let rows = assignment.samplesPerShard * layer.plan.geometry.outputHeight * layer.plan.geometry.outputWidth
    let (perShard, partsPerShard) = (rows * channels, builder.partsPerShard)
    let (weightScales, observer, limit) = (layer.weightScales!, layer.inputObserver!, layer.gradientLimit)
    let integers = builder.tensor("\(name) int16 gradient", Int16.self, count: shardCount * perShard)
    let ranges = builder.floats("\(name) gradient ranges", count: shardCount * partsPerShard)
    let scales = builder.floats("\(name) gradient scales", count: shardCount)
    let products = builder.floats("\(name) gradient products", count: shardCount * channels)
    let part = builder.part
    builder.part = .quantize
    defer { builder.part = part }
    builder.emitShardwise("\(name) gradient range", using: [gradient, ranges]) { share in
      for shard in share.shards {
        let values = gradient.floats(share) + (shard - share.shards.lowerBound) * perShard
        ranges.floats[shard * partsPerShard + share.part] = kernels.scaledAbsMax(
          values, rows: rows, channels: channels, factors: weightScales.floats, part: share.part, of: share.parts)
      }
    }
    let using = [gradient, ranges, integers, scales, products]
    builder.emitShardwise("\(name) quantize gradient", using: using) { share in
      for shard in share.shards {
        let ranges = UnsafeBufferPointer(start: ranges.floats + shard * partsPerShard, count: partsPerShard)
        let (scale, inverseScale) = gradientScale(of: ranges, limit: limit?.floats[0] ?? 32_767)
        if share.part == 0 {
          scales.floats[shard] = scale
          let product = step.activationScales[observer] * scale
          for k in 0..<channels { products.floats[shard * channels + k] = product / weightScales.floats[k] }
        }
        let values = gradient.floats(share) + (shard - share.shards.lowerBound) * perShard
        kernels.quantizeGradient(
          values, rows: rows, channels: channels, factors: weightScales.floats, inverseScale: inverseScale,
          output: integers.int16s + shard * perShard, part: share.part, of: share.parts)
      }
    }
    return (integers, scales, products)
  }
}

/// The scale that takes the largest of these magnitudes to the limit, and its inverse; both 0 for a gradient of zeros, or of
/// numbers too small to have an inverse.
private func gradientScale(of magnitudes: UnsafeBufferPointer<Float>, limit: Float) -> (scale: Float, inverse: Float) {
  // By bits, which are in the order of the magnitudes, with infinity and NaN on top.
  var bits: UInt32 = 0
  for magnitude in magnitudes { bits = max(bits, magnitude.bitPattern) }
  let largest = Float(bitPattern: bits)
  let inverse = limit / largest
  return inverse == .infinity ? (0, 0) : (largest / limit, inverse)
}
