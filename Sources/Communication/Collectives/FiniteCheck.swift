// Whether gradients are finite, found out while they pass through the first-level cache anyway: a pass of its own over a result
// of 43 MiB takes every member 3 ms, because it runs at the speed of memory (Docs/Results/2026-11-24-kernels.md).

/// Looks for infinities and NaNs.
enum FiniteCheck {
  /// Floats looked at while they are in the first-level cache.
  static let block = 1_024

  /// Whether all of `count` floats are finite; they need no alignment.
  static func isFinite(_ values: UnsafeRawPointer, count: Int) -> Bool {
    // x - x is 0 for a finite x and NaN otherwise, and NaN stays in a sum.
    var sum = SIMD16<Float>.zero
    var index = 0
    while index + 16 <= count {
      let x = values.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
      sum += x - x
      index += 16
    }
    while index < count {
      let x = values.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
      sum[0] += x - x
      index += 1
    }
    return sum == .zero
  }

  /// Copies `count` floats, which must not overlap; says whether all are finite.
  static func copy(_ source: UnsafeRawPointer, to target: UnsafeMutablePointer<Float>, count: Int) -> Bool {
    var areFinite = true
    for start in stride(from: 0, to: count, by: block) {
      let length = min(block, count - start)
      UnsafeMutableRawPointer(target + start).copyMemory(from: source + start * 4, byteCount: length * 4)
      areFinite = isFinite(target + start, count: length) && areFinite
    }
    return areFinite
  }
}
