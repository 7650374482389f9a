// The integers that a quantized tensor may hold.

/// A symmetric signed integer range of 2...8 bits with zero point 0.
///
/// `narrow` drops the most negative integer (int8: -127...127), so negation is exact: the range of weights. Activations
/// take -128...127, because that is where ONNX's QuantizeLinear and TensorRT saturate. The scale is absmax / 127 either
/// way; only the clamping of values beyond -127.5 scales differs.
public struct IntegerRange: Sendable, Hashable, CustomStringConvertible {
  /// Bits per integer, 2...8.
  public let bits: Int
  /// Whether the most negative integer is left out.
  public let narrow: Bool

  /// int8, -128...127: the default of activations.
  public static let int8 = IntegerRange(uncheckedBits: 8, narrow: false)
  /// int8 without its most negative value, -127...127: the default of weights.
  public static let narrowInt8 = IntegerRange(uncheckedBits: 8, narrow: true)

  private init(uncheckedBits bits: Int, narrow: Bool) {
    self.bits = bits
    self.narrow = narrow
  }

  /// Makes a range.
  /// - Throws: `GraphError.invalidArgument` for bits outside 2...8.
  public init(bits: Int, narrow: Bool = false) throws {
    guard (2...8).contains(bits) else {
      throw GraphError(.invalidArgument, "\(bits) bits; integers take 2...8", hint: "use 8 for TensorRT INT8")
    }
    self.init(uncheckedBits: bits, narrow: narrow)
  }

  /// The largest integer, 127 for int8; absmax / limit is the scale.
  public var limit: Int32 { (1 << Int32(bits - 1)) - 1 }
  /// The smallest integer, -127 or -128 for int8.
  public var minimum: Int32 { narrow ? -limit : -limit - 1 }
  /// The largest integer, 127 for int8.
  public var maximum: Int32 { limit }
  /// All integers allowed.
  public var integers: ClosedRange<Int32> { minimum...maximum }

  /// "int8[-128...127]".
  public var description: String { "int\(bits)[\(minimum)...\(maximum)]" }
}
