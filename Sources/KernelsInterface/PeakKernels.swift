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

  /// Runs chains of the integer dot product c[i] += a[4i...4i+3] * b[4i...4i+3] (VNNI).
  ///
  /// - Parameter values: 16 * 64 bytes: a, b, then the chains, which are updated.
  /// - Returns: scalar multiply-adds made; 0 where the instruction set has no such instruction.
  static func dotProductChains(_ values: UnsafeMutableRawPointer, repetitions: Int) -> Int
}
