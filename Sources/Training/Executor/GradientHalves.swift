// Gradients as they travel when `training.gradients` is fp16, converted by the kernels.

import Kernels

/// Conversion between gradients and the halves that stand for them.
public enum GradientHalves {
  private static let block = 4_096

  /// Writes fp16(value * scale), 2 bytes each.
  ///
  /// - Parameters:
  ///   - source: `count` floats.
  ///   - count: how many.
  ///   - scale: a power of two.
  ///   - target: `count` halves.
  public static func encode(
    _ source: UnsafePointer<Float>, _ count: Int, _ scale: Float, _ target: UnsafeMutableRawPointer
  ) {
    let halves = target.assumingMemoryBound(to: Float16.self)
    guard scale != 1 else {
      return kernels.convertToHalf(
        source, count: count, output: halves, saturating: false, part: 0, of: 1)
    }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: block) { scaled in
      guard let scaled = scaled.baseAddress else { return }
      for start in stride(from: 0, to: count, by: block) {
        let length = min(block, count - start)
        for index in 0..<length { scaled[index] = source[start + index] * scale }
        kernels.convertToHalf(scaled, count: length, output: halves + start, saturating: false, part: 0, of: 1)
      }
    }
  }

  /// Writes half / scale, exactly.
  ///
  /// - Parameters:
  ///   - source: `count` halves.
  ///   - count: how many.
  ///   - scale: a power of two.
  ///   - target: `count` floats.
  public static func decode(
    _ source: UnsafeRawPointer, _ count: Int, _ scale: Float, _ target: UnsafeMutablePointer<Float>
  ) {
    kernels.convertToFloat(
      source.assumingMemoryBound(to: Float16.self), count: count, output: target, part: 0, of: 1)
    guard scale != 1 else { return }
    let inverse = 1 / scale
    for index in 0..<count { target[index] *= inverse }
  }
}
