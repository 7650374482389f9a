// Elementwise passes over flat buffers, and the functions that libm would give.

/// Elementwise operations on [count] floats.
///
/// In place is fine: an output may be one of the inputs.
public protocol ElementwiseKernels {
  /// output = max(0, input); NaN stays NaN.
  static func reluForward(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// gradientInput = gradient where activation > 0, else 0; or gradientInput + that.
  ///
  /// - Parameter activation: [count], the forward output (its input gives the same).
  static func reluBackward(
    _ gradient: UnsafePointer<Float>, activation: UnsafePointer<Float>, count: Int,
    gradientInput: UnsafeMutablePointer<Float>, accumulate: Bool, part: Int, of parts: Int)

  /// output = left + right, then max(0, _) if `relu`.
  static func add(
    _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, count: Int, relu: Bool,
    output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// total = total + values.
  static func accumulate(
    _ values: UnsafePointer<Float>, count: Int, into total: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// values = values * factor.
  static func scale(
    _ values: UnsafeMutablePointer<Float>, count: Int, by factor: Float, part: Int, of parts: Int)

  /// Pixels to floats: output[i] = (Float(pixels[i]) - mean[c]) * inverseDeviation[c], c = i % channels.
  ///
  /// - Parameters:
  ///   - pixels: [rows, channels], 0...255.
  ///   - mean: [channels] in units of pixel values (0...255), with `inverseDeviation`.
  static func decodeUInt8(
    _ pixels: UnsafePointer<UInt8>, rows: Int, channels: Int, mean: UnsafePointer<Float>,
    inverseDeviation: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// Whether every value of this part is finite.
  static func allFinite(_ values: UnsafePointer<Float>, count: Int, part: Int, of parts: Int) -> Bool

  /// e^x within 2 ulp; 0 below -87.34 (no subnormal results), infinity above 88.72, NaN for NaN.
  static func exponential(_ x: Float) -> Float

  /// Natural logarithm within 2 ulp; -infinity for 0 and subnormals, NaN below 0 and for NaN.
  static func logarithm(_ x: Float) -> Float

  /// output = e^input; the same bits as `exponential(_:)`.
  static func exponential(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// output = ln(input); the same bits as `logarithm(_:)`.
  static func logarithm(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// output = 1 / (1 + e^-input).
  static func sigmoid(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)
}
