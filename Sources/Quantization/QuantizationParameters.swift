// Scale, zero point and range: the affine map between integers and reals, and the plain twin of fake-quantize.

public import Graph

/// The affine map real = scale * (quantized - zeroPoint).
///
/// scale: real units per level, > 0, finite. Zero is always exactly representable. Temper trains with zero point 0;
/// the general form is here so that the twin can be compared with torch's.
public struct QuantizationParameters: Sendable, Hashable {
  /// Real units per level.
  public var scale: Float
  /// The integer that stands for 0.
  public var zeroPoint: Int32
  /// The integers that values are clamped to.
  public var range: ClosedRange<Int32>

  /// The smallest scale: 2^-23, torch's `eps` of every observer.
  ///
  /// A tensor that is all zero (a dead channel, an unused observer) gets it, so 1/scale stays finite and zeros stay zero.
  public static let smallestScale: Float = 0x1p-23

  /// Makes an affine map.
  /// - Throws: `QuantizationError.invalidArgument` for a scale that is not positive and finite, or a zero point outside
  ///   the range.
  public init(scale: Float, zeroPoint: Int32, range: ClosedRange<Int32>) throws {
    guard scale > 0, scale.isFinite, range.contains(zeroPoint) else {
      throw QuantizationError(
        .invalidArgument,
        "scale \(scale) must be positive and finite, zero point \(zeroPoint) within \(range.lowerBound)..."
          + "\(range.upperBound)")
    }
    self.scale = scale
    self.zeroPoint = zeroPoint
    self.range = range
  }

  /// The symmetric map of a largest magnitude: zero point 0, scale absmax / limit.
  public init(absMax: Float, range: IntegerRange) throws {
    try self.init(
      scale: Self.scale(forAbsMax: absMax, limit: range.limit), zeroPoint: 0, range: range.integers)
  }

  /// max(absMax / limit, 2^-23): one division, rounded once, the same bits wherever it is computed.
  ///
  /// TensorRT's amax / 127 for int8. torch.ao divides by (qmax - qmin) / 2, which is the same for -127...127 and
  /// 127.5 for -128...127; here the limit is 127 for both. An absMax that is NaN gives the smallest scale.
  public static func scale(forAbsMax absMax: Float, limit: Int32) -> Float {
    let scale = absMax / Float(limit)
    return scale > smallestScale ? scale : smallestScale
  }

  /// Rounds one value to its integer: zeroPoint + rne(x * (1/scale)), clamped.
  /// - Returns: the integer, and whether the rounded value was in range before clamping (where gradients pass).
  ///   NaN gives the zero point and false.
  public func quantize(_ value: Float) -> (integer: Int32, isInRange: Bool) {
    let rounded = (value * (1 / scale)).rounded(.toNearestOrEven) + Float(zeroPoint)
    guard !rounded.isNaN else { return (zeroPoint, false) }
    let clamped = min(max(rounded, Float(range.lowerBound)), Float(range.upperBound))
    return (Int32(clamped), clamped == rounded)
  }

  /// The real value of an integer.
  public func dequantize(_ integer: Int32) -> Float { Float(integer - zeroPoint) * scale }

  /// Quantizes and dequantizes one value; the reference that `Kernels.quantize` is tested against.
  public func fakeQuantize(_ value: Float) -> (value: Float, isInRange: Bool) {
    let (integer, isInRange) = quantize(value)
    return (dequantize(integer), isInRange)
  }
}
