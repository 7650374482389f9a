// Quantizing, dequantizing, straight-through masks, ranges and histograms.

/// Symmetric quantization with zero point 0: real = scale * quantized.
///
/// A mask holds one bit per element, bit i % 16 of word i / 16: set where the rounded, not yet clamped integer is in
/// lowest...limit. Unused bits of the last word are 0.
public protocol QuantizationKernels {
  /// output = clamp(round-half-even(input * inverseScale), lowest...limit); NaN becomes 0 with its mask bit clear.
  ///
  /// - Parameters:
  ///   - input: [count].
  ///   - inverseScale: 1 / scale, finite.
  ///   - limit: largest integer, at most 127.
  ///   - lowest: smallest integer, at least -128.
  ///   - output: [count].
  ///   - mask: [(count + 15) / 16] words, or nil.
  static func quantize(
    _ input: UnsafePointer<Float>, count: Int, inverseScale: Float, limit: Int32, lowest: Int32,
    output: UnsafeMutablePointer<Int8>, mask: UnsafeMutablePointer<UInt16>?, part: Int, of parts: Int)

  /// output = Float(input) * scale.
  static func dequantize(
    _ input: UnsafePointer<Int8>, count: Int, scale: Float, output: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int)

  /// Weights back to real: output[r, k] = Float(input[r, k]) * scales[k].
  ///
  /// - Parameters:
  ///   - input: in panels of `rows` rows.
  ///   - scales: [K].
  ///   - output: in panels.
  static func dequantizeWeights(
    _ input: UnsafePointer<Int8>, rows: Int, channels: Int, scales: UnsafePointer<Float>,
    output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// Straight-through backward: output = gradient where the mask bit is set, else 0; or output + that.
  ///
  /// - Parameters:
  ///   - gradient: [count]; may be `output` itself when `accumulate` is false.
  ///   - mask: [(count + 15) / 16] words.
  static func applyMask(
    _ gradient: UnsafePointer<Float>, count: Int, mask: UnsafePointer<UInt16>, output: UnsafeMutablePointer<Float>,
    accumulate: Bool, part: Int, of parts: Int)

  /// The mask of values above zero; NaN is not.
  ///
  /// - Parameters:
  ///   - input: [count].
  ///   - mask: [(count + 15) / 16] words.
  ///   - intersecting: clears the bits of the other values in the mask that is there, instead of writing a new one.
  static func maskPositive(
    _ input: UnsafePointer<Float>, count: Int, mask: UnsafeMutablePointer<UInt16>, intersecting: Bool, part: Int,
    of parts: Int)

  /// Smallest and largest value of this part; (+infinity, -infinity) when it is empty. NaN is skipped.
  static func minMax(
    _ input: UnsafePointer<Float>, count: Int, part: Int, of parts: Int
  ) -> (minimum: Float, maximum: Float)

  /// Largest magnitude of this part; 0 when it is empty. NaN is skipped.
  static func absMax(_ input: UnsafePointer<Float>, count: Int, part: Int, of parts: Int) -> Float

  /// output[k] = largest |weights[r, k]| over r. NaN is skipped.
  ///
  /// - Parameters:
  ///   - weights: in panels of `rows` rows.
  ///   - output: [K].
  static func absMaxPerChannel(
    _ weights: UnsafePointer<Float>, rows: Int, channels: Int, output: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int)

  /// `quantize` with a scale per channel.
  ///
  /// - Parameters:
  ///   - weights: in panels of `rows` rows.
  ///   - inverseScales: [K], finite.
  ///   - output: in panels.
  static func quantizeWeights(
    _ weights: UnsafePointer<Float>, rows: Int, channels: Int, inverseScales: UnsafePointer<Float>, limit: Int32,
    lowest: Int32, output: UnsafeMutablePointer<Int8>, part: Int, of parts: Int)

  /// Largest |input[r, k] * factors[k]| of this part's rows, infinite or NaN when one of them is; 0 when it is empty.
  ///
  /// - Parameters:
  ///   - input: [rows, K].
  ///   - factors: [K].
  static func scaledAbsMax(
    _ input: UnsafePointer<Float>, rows: Int, channels: Int, factors: UnsafePointer<Float>, part: Int, of parts: Int
  ) -> Float

  /// output[r, k] = round-half-even(input[r, k] * factors[k] * inverseScale); unspecified unless within int16.
  ///
  /// - Parameters:
  ///   - input: [rows, K].
  ///   - factors: [K].
  ///   - output: [rows, K].
  static func quantizeGradient(
    _ input: UnsafePointer<Float>, rows: Int, channels: Int, factors: UnsafePointer<Float>, inverseScale: Float,
    output: UnsafeMutablePointer<Int16>, part: Int, of parts: Int)

  /// Adds to bins[min(floor(|x| * inverseBinWidth), binCount - 1)] one for each finite x; others are skipped.
  ///
  /// Not split into parts: give each thread bins of its own and add them, which is exact in any order.
  static func absHistogram(
    _ input: UnsafePointer<Float>, count: Int, inverseBinWidth: Float, bins: UnsafeMutablePointer<UInt64>,
    binCount: Int)
}
