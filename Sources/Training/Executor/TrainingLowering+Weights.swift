// The stages that take over weights: rounding or quantizing, then packing for the kernels.

import Graph
import Kernels
import Quantization

extension TrainingLowering {
  /// Emits everything `loadWeights` runs.
  mutating func emitLoading() {
    emitVectors()
    for node in fused {
      guard let layer = convolutions[node.node.id] else { continue }
      builder.part = layer.quantization == nil ? .other : .quantize
      if layer.quantization != nil {
        emitQuantizedLoading(layer)
      } else {
        emitFloatLoading(layer)
      }
    }
  }

  /// Biases and BatchNorm parameters stay Float in every precision.
  private mutating func emitVectors() {
    var copies: [(tensor: Tensor, range: Range<Int>)] = []
    for node in fused {
      if let layer = convolutions[node.node.id], let bias = layer.bias, let entry = layer.biasEntry {
        copies.append((bias, entry.range))
      }
      if let layer = normalizations[node.node.id] {
        copies += [(layer.scale, layer.scaleEntry.range), (layer.shift, layer.shiftEntry.range)]
      }
    }
    builder.emitSerial("load vectors", using: []) { [step, copies] in
      guard let weights = step.weights else { return }
      for copy in copies {
        copy.tensor.floats.update(from: weights + copy.range.lowerBound, count: copy.range.count)
      }
    }
  }

  private mutating func emitFloatLoading(_ layer: ConvolutionLayer) {
    let (step, entry, plan) = (step, layer.weightEntry, layer.plan)
    var rounded: Tensor?
    if precision == .fp16 {
      let scratch = builder.floats("\(layer.node.name) rounded weights", count: entry.elementCount)
      rounded = scratch
      builder.emit("\(layer.node.name) round weights", using: [scratch]) { part, parts in
        guard let weights = step.weights else { return }
        kernels.roundToHalf(
          weights + entry.offset, count: entry.elementCount, output: scratch.floats, part: part, of: parts)
      }
    }
    builder.emit("\(layer.node.name) pack", using: rounded.map { [$0] } ?? []) { part, parts in
      guard let weights = step.weights else { return }
      let source = rounded.map { UnsafePointer($0.floats) } ?? weights + entry.offset
      if let packed = layer.packed {
        kernels.packWeights(plan, weights: source, into: packed.floats, part: part, of: parts)
      }
      if let packed = layer.packedGradient {
        kernels.packInputGradientWeights(plan, weights: source, into: packed.floats, part: part, of: parts)
      }
    }
  }

  /// Integers with one scale per output channel, absmax / limit, from this step's weights.
  ///
  /// Products of floats see the dequantized integers; no weight is out of range,
  /// so the straight-through gradient is whole.
  private mutating func emitQuantizedLoading(_ layer: ConvolutionLayer) {
    guard let quantization = layer.quantization, let scales = layer.weightScales else { return }
    let (step, entry, plan, name) = (step, layer.weightEntry, layer.plan, layer.node.name)
    let channels = plan.geometry.outputChannels
    let rows = entry.elementCount / channels
    let limit = quantization.range.limit
    let inverseScales = builder.floats("\(name) inverse scales", count: channels)
    let integers = builder.tensor("\(name) integers", Int8.self, count: entry.elementCount)

    builder.emit("\(name) weight ranges", using: []) { part, parts in
      guard let weights = step.weights else { return }
      kernels.absMaxPerChannel(
        weights + entry.offset, rows: rows, channels: channels, output: scales.floats, part: part, of: parts)
    }
    builder.emitSerial("\(name) weight scales", using: [inverseScales]) {
      let values = UnsafeMutableBufferPointer(start: scales.floats, count: channels)
      if quantization.granularity == .perTensor {
        let largest = values.max() ?? 0
        values.update(repeating: largest)
      }
      for channel in 0..<channels {
        values[channel] = QuantizationParameters.scale(forAbsMax: values[channel], limit: limit)
        inverseScales.floats[channel] = 1 / values[channel]
      }
    }
    builder.emit("\(name) quantize weights", using: [inverseScales, integers]) { part, parts in
      guard let weights = step.weights else { return }
      kernels.quantizeWeights(
        weights + entry.offset, rows: rows, channels: channels, inverseScales: inverseScales.floats, limit: limit,
        lowest: quantization.range.minimum, output: integers.int8s, mask: nil, part: part, of: parts)
    }
    if let packed = layer.packedInt8 {
      builder.emit("\(name) pack int8", using: [integers]) { part, parts in
        kernels.packInt8Weights(plan, weights: integers.int8s, into: packed.bytes, part: part, of: parts)
      }
    }
    emitIntegerGradientLoading(layer, integers: integers)
    guard layer.packed != nil || layer.packedGradient != nil else { return }
    let real = builder.floats("\(name) quantized weights", count: entry.elementCount)
    builder.emit("\(name) dequantize weights", using: [integers, real]) { part, parts in
      kernels.dequantizeWeights(
        integers.int8s, rows: rows, channels: channels, scales: scales.floats, output: real.floats, part: part,
        of: parts)
    }
    builder.emit("\(name) pack", using: [real]) { part, parts in
      if let packed = layer.packed {
        kernels.packWeights(plan, weights: real.floats, into: packed.floats, part: part, of: parts)
      }
      if let packed = layer.packedGradient {
        kernels.packInputGradientWeights(plan, weights: real.floats, into: packed.floats, part: part, of: parts)
      }
    }
  }
}
