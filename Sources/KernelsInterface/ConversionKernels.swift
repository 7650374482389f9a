// Float16 storage.

/// Conversions between float and half, rounding to nearest even; values beyond 65,504 become infinite.
public protocol ConversionKernels {
  /// output = Float16(input).
  static func convertToHalf(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float16>, part: Int, of parts: Int)

  /// output = Float(input), exact.
  static func convertToFloat(
    _ input: UnsafePointer<Float16>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// output = Float(Float16(input)). `output` may be `input`.
  static func roundToHalf(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)
}
