// Integer weights with a scale per output channel, and folding BatchNorm into them without changing an integer.

public import Graph

/// Weights real = scale[k] * integer, symmetric, zero point 0.
public struct QuantizedWeights: Sendable, Hashable {
  /// Shape and order of the integers.
  public let order: WeightOrder
  /// Integers in kernel order.
  public let integers: [Int8]
  /// One scale per output channel, > 0; all equal for per-tensor weights that were not folded.
  public let scales: [Float]

  /// Quantizes float weights in kernel order.
  ///
  /// Per channel k: scale = max(absmax_k / limit, 2^-23), integer = rne(w * (1/scale)). Scales from absmax never clip.
  public init(quantizing weights: [Float], order: WeightOrder, quantization: WeightQuantization) {
    precondition(weights.count == order.elementCount, "\(weights.count) weights for shape \(order.torchShape)")
    let outputs = order.torchShape[0]
    var absMax = [Float](repeating: 0, count: outputs)
    var index = 0
    order.visit { _, _, output in
      absMax[output] = max(absMax[output], weights[index].magnitude)
      index += 1
    }
    if quantization.granularity == .perTensor {
      absMax = [Float](repeating: absMax.max() ?? 0, count: outputs)
    }
    let range = quantization.range
    let scales = absMax.map { QuantizationParameters.scale(forAbsMax: $0, limit: range.limit) }
    let inverses = scales.map { 1 / $0 }
    let (low, high) = (Float(range.minimum), Float(range.maximum))
    self.order = order
    self.scales = scales
    integers = order.map(weights) { weight, output in
      let rounded = (weight * inverses[output]).rounded(.toNearestOrEven)
      return Int8(rounded.isNaN ? 0 : min(max(rounded, low), high))
    }
  }

  private init(order: WeightOrder, integers: [Int8], scales: [Float]) {
    self.order = order
    self.integers = integers
    self.scales = scales
  }

  /// The float weights that the integers stand for, kernel order.
  public var dequantized: [Float] {
    order.map(integers) { integer, output in Float(integer) * scales[output] }
  }

  /// Integers in torch order, [out][in][kernel][kernel] or [out][in]: what ONNX wants.
  public var torchIntegers: [Int8] { order.torchOrder(fromKernel: integers) }

  /// The same weights with channel k multiplied by factors[k], as BatchNorm folding does.
  ///
  /// The scale becomes scale * |factor|, the integers keep their value, with the sign turned for a negative factor. A
  /// factor of zero (or one whose scale would be subnormal) makes a channel of zeros with the smallest scale.
  /// - Throws: `QuantizationError.invalidArgument` for a factor or resulting scale that is not finite, or a sign change of
  ///   -128, which absmax scales never make.
  public func scaled(by factors: [Float]) throws -> QuantizedWeights {
    precondition(factors.count == scales.count, "\(factors.count) factors for \(scales.count) channels")
    var newScales = scales
    var signs = [Int](repeating: 1, count: scales.count)
    for (channel, factor) in factors.enumerated() {
      let scale = scales[channel] * factor.magnitude
      guard scale.isFinite else {
        throw QuantizationError(
          .invalidArgument, "folding makes scale \(scale) of \(scales[channel]) x \(factor) in channel \(channel)",
          hint: "a running variance or BatchNorm weight is not finite")
      }
      let vanishes = scale < .leastNormalMagnitude
      newScales[channel] = vanishes ? QuantizationParameters.smallestScale : scale
      signs[channel] = vanishes ? 0 : factor < 0 ? -1 : 1
    }
    let newIntegers = try order.map(integers) { integer, output in
      guard let value = Int8(exactly: Int(integer) * signs[output]) else {
        throw QuantizationError(
          .invalidArgument, "folding a negative BatchNorm weight negates -128 in channel \(output)",
          hint: "use a narrow range of weights, -127...127")
      }
      return value
    }
    return QuantizedWeights(order: order, integers: newIntegers, scales: newScales)
  }
}
