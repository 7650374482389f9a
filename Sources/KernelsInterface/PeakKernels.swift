// Loops that do nothing but multiply and add: what one core can do at most.

/// The yardstick of `temper bench gemm`: independent chains in registers, no memory traffic.
///
/// Not part of `KernelSet`, because nothing is computed with them.
public protocol PeakKernels: SendableMetatype {
  /// Runs chains of fused multiply-adds c = a * b + c on vectors.
  ///
  /// - Parameter values: 16 * 16 floats: a, b, then the chains, which are updated.
  /// - Returns: scalar multiply-adds made.
  static func multiplyAddChains(_ values: UnsafeMutablePointer<Float>, repetitions: Int) -> Int

  /// Runs chains of the integer dot product that int8 convolutions are made of: c[i] += a[4i...4i+3] * b[4i...4i+3] of bytes
  /// with VNNI, c[i] = b[i] + a[2i] * c[2i] + a[2i+1] * c[2i+1] of int16 elsewhere, where b[i] is an int32.
  ///
  /// - Parameter values: 16 * 64 bytes: a, b, then the chains, which are updated.
  /// - Returns: scalar multiply-adds made.
  static func dotProductChains(_ values: UnsafeMutableRawPointer, repetitions: Int) -> Int
}
