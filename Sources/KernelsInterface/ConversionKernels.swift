// Float16 storage.

/// Conversions between float and half, rounding to nearest even; values beyond 65,504 become infinite unless said otherwise.
public protocol ConversionKernels {
  /// output = Float16(input); with `saturating`, of input clamped to -65,504...65,504 first. NaN stays NaN.
  static func convertToHalf(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float16>, saturating: Bool, part: Int,
    of parts: Int)

  /// output = Float(input), exact.
  static func convertToFloat(
    _ input: UnsafePointer<Float16>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// output = Float(Float16(input)). `output` may be `input`.
  static func roundToHalf(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)
}
