// The stages that take over weights: rounding or quantizing, then packing for the kernels.

import Graph
import Kernels
import Quantization

extension TrainingLowering {
  /// Emits everything `loadWeights` runs.
  ///
  /// Layer by layer, so that what one stage leaves in a cache is there for the next; where members share the work, stage by
  /// stage, so that they meet twice and not twice for every layer.
  mutating func emitLoading() {
    emitVectors()
    let layers = fused.compactMap { convolutions[$0.node.id] }
    guard builder.sharing != nil else {
      for layer in layers {
        let weights = emitRounding(layer)
        emitPackingForGradient(layer, weights)
        emitUnshared(layer, weights)
      }
      return
    }
    let rounded = layers.map { (layer: $0, weights: emitRounding($0)) }
    if precision != .fp32 { builder.emitMeeting("weights are rounded") }
    for (layer, weights) in rounded { emitPackingForGradient(layer, weights) }
    if precision == .quantized { builder.emitMeeting("weights are packed") }
    for (layer, weights) in rounded { emitUnshared(layer, weights) }
  }

  /// The first of a layer's stages: weights to halves, or to integers, which are returned.
  private mutating func emitRounding(_ layer: ConvolutionLayer) -> Tensor? {
    builder.part = layer.quantization == nil ? .other : .quantize
    if layer.quantization != nil { return emitQuantizing(layer) }
    return precision == .fp16 ? emitHalves(layer) : nil
  }

  /// The second: int16 weights for the input gradient, of integers of all output channels.
  private mutating func emitPackingForGradient(_ layer: ConvolutionLayer, _ integers: Tensor?) {
    guard let integers, let packed = layer.packedGradientInt16 else { return }
    builder.part = .quantize
    let (plan, channels) = (layer.plan, layer.plan.geometry.inputChannels)
    let magnitudes = builder.tensor(
      "\(layer.node.name) magnitudes", Int32.self, count: channels, lifetime: builder.sharedOrTransient)
    layer.magnitudes = magnitudes
    builder.emitShared("\(layer.node.name) pack for gradient", using: [integers, magnitudes]) { part, parts in
      kernels.packInputGradientWeightsInt16(
        plan, weights: integers.int8s, into: packed.int16s, magnitudes: magnitudes.int32s, part: part, of: parts)
    }
  }

  /// What every member does for itself, of what it has by then.
  private mutating func emitUnshared(_ layer: ConvolutionLayer, _ rounded: Tensor?) {
    builder.part = layer.quantization == nil ? .other : .quantize
    if layer.quantization == nil { return emitPacking(layer, of: rounded) }
    guard let rounded else { return }
    emitGradientLimit(layer)
    emitDequantizing(layer, rounded)
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

  private mutating func emitHalves(_ layer: ConvolutionLayer) -> Tensor {
    let (step, count, name) = (step, layer.weightEntry.elementCount, layer.node.name)
    let rounded = floatsToPack(layer, "\(name) rounded weights", lifetime: builder.sharedOrTransient)
    builder.emitShared("\(name) round weights", using: [rounded]) { part, parts in
      kernels.roundToHalf(
        layer.stateWeights(step), count: count, output: rounded.floats, part: part, of: parts)
    }
    return rounded
  }

  /// Where to put weights that `emitPacking` is to pack: where they belong, if they are packed as they lie.
  private mutating func floatsToPack(
    _ layer: ConvolutionLayer, _ label: String, lifetime: Tensor.Lifetime = .transient
  ) -> Tensor {
    if layer.plan.weightsArePacked, let packed = layer.packed { return packed }
    return builder.floats(label, count: layer.weightEntry.elementCount, lifetime: lifetime)
  }

  /// Packs these weights, or the state's, for the kernels that do not take them as they lie.
  private mutating func emitPacking(_ layer: ConvolutionLayer, of source: Tensor?) {
    let (step, plan) = (step, layer.plan)
    let packed = plan.weightsArePacked ? nil : layer.packed
    guard packed != nil || layer.packedGradient != nil else { return }
    builder.emit("\(layer.node.name) pack", using: source.map { [$0] } ?? []) { part, parts in
      let weights = source.map { UnsafePointer($0.floats) } ?? layer.stateWeights(step)
      if let packed {
        kernels.packWeights(plan, weights: weights, into: packed.floats, part: part, of: parts)
      }
      if let packed = layer.packedGradient {
        kernels.packInputGradientWeights(plan, weights: weights, into: packed.floats, part: part, of: parts)
      }
    }
  }

  /// Integers with one scale per output channel, absmax / limit, from this step's weights.
  ///
  /// Products of floats see the dequantized integers; no weight is out of range, so the straight-through gradient is whole.
  /// Panel by panel, so that the passes over a panel read it from memory once.
  private mutating func emitQuantizing(_ layer: ConvolutionLayer) -> Tensor? {
    guard let quantization = layer.quantization, let scales = layer.weightScales else { return nil }
    let (step, plan, name) = (step, layer.plan, layer.node.name)
    let channels = plan.geometry.outputChannels
    let rows = layer.weightEntry.elementCount / channels
    let limit = quantization.range.limit
    let inverseScales = builder.floats("\(name) inverse scales", count: channels)
    let integers = builder.tensor(
      "\(name) integers", Int8.self, count: layer.weightEntry.elementCount,
      lifetime: quantization.granularity == .perChannel ? builder.sharedOrTransient : .transient)
    let panelWidth = ConvolutionPlan.panelWidth
    let panels = (channels + panelWidth - 1) / panelWidth

    func findRanges(_ panel: Int) {
      kernels.absMaxPerChannel(
        layer.stateWeights(step), rows: rows, channels: channels, output: scales.floats, part: panel, of: panels)
    }
    func setScales(_ panel: Int) {
      for channel in panel * panelWidth..<min((panel + 1) * panelWidth, channels) {
        scales.floats[channel] = QuantizationParameters.scale(forAbsMax: scales.floats[channel], limit: limit)
        inverseScales.floats[channel] = 1 / scales.floats[channel]
      }
    }
    func quantize(_ panel: Int) {
      kernels.quantizeWeights(
        layer.stateWeights(step), rows: rows, channels: channels, inverseScales: inverseScales.floats, limit: limit,
        lowest: quantization.range.minimum, output: integers.int8s, part: panel, of: panels)
      if let packed = layer.packedInt8 {
        kernels.packInt8Weights(plan, weights: integers.int8s, into: packed.bytes, part: panel, of: panels)
      }
    }
    switch quantization.granularity {
    case .perChannel:
      builder.emitShared("\(name) quantize weights", using: [inverseScales, integers]) { part, parts in
        for panel in panels * part / parts..<panels * (part + 1) / parts {
          findRanges(panel)
          setScales(panel)
          quantize(panel)
        }
      }
    case .perTensor:
      builder.emit("\(name) weight ranges", using: []) { part, parts in
        for panel in panels * part / parts..<panels * (part + 1) / parts { findRanges(panel) }
      }
      builder.emitSerial("\(name) weight scales", using: [inverseScales]) {
        let values = UnsafeMutableBufferPointer(start: scales.floats, count: channels)
        values.update(repeating: values.max() ?? 0)
        for panel in 0..<panels { setScales(panel) }
      }
      builder.emit("\(name) quantize weights", using: [inverseScales, integers]) { part, parts in
        for panel in panels * part / parts..<panels * (part + 1) / parts { quantize(panel) }
      }
    }
    return integers
  }

  /// For products of floats.
  private mutating func emitDequantizing(_ layer: ConvolutionLayer, _ integers: Tensor) {
    guard let scales = layer.weightScales, layer.packed != nil || layer.packedGradient != nil else { return }
    let (name, channels) = (layer.node.name, layer.plan.geometry.outputChannels)
    let rows = layer.weightEntry.elementCount / channels
    let real = floatsToPack(layer, "\(name) quantized weights")
    builder.emit("\(name) dequantize weights", using: [integers, real]) { part, parts in
      kernels.dequantizeWeights(
        integers.int8s, rows: rows, channels: channels, scales: scales.floats, output: real.floats, part: part,
        of: parts)
    }
    emitPacking(layer, of: real)
  }
}
