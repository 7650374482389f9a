// From a plan's offset tables to pointers, a few pixels at a time.

internal import KernelsInterface

/// Pixels of a tile of the forward and input-gradient products; also the rows (weights) of a weight-gradient tile.
let tileRows = 8

/// The images that rows are taken from: one buffer of samples.
struct RowSource {
  let base: UnsafeRawPointer
  /// Bytes from one sample to the next.
  let sampleBytes: Int
  /// Binary logarithm of the bytes of an element, which the offsets of a `PixelClass` count.
  let elementShift: Int
  /// What padding reads.
  let zeros: UnsafeRawPointer
}

extension RowSource {
  /// Pointers to what 8 consecutive pixels read: pointers[tap * 8 + row] for taps firstTap..<firstTap + tapCount.
  ///
  /// Pixels are numbered through all samples, and those from `total` on read zeros. Inside one sample this is a vector
  /// load, a select and a store per tap; tiles that cross samples go one by one.
  @inline(__always)
  func gather(
    _ pixels: PixelClass, firstTap: Int, tapCount: Int, first: Int, total: Int,
    into pointers: UnsafeMutablePointer<UnsafeRawPointer>
  ) {
    var sample = first / pixels.pixelCount
    var pixel = first - sample * pixels.pixelCount
    let table = pixels.sources + firstTap * pixels.rowStride
    if pixel + tileRows <= pixels.pixelCount && first + tileRows <= total {
      let start = SIMD8<Int>(repeating: Int(bitPattern: base + sample * sampleBytes))
      let zero = SIMD8<Int>(repeating: Int(bitPattern: zeros))
      let shift = SIMD8<Int>(repeating: elementShift)
      for tap in 0..<tapCount {
        let offsets = SIMD8<Int>(
          truncatingIfNeeded: UnsafeRawPointer(table + tap * pixels.rowStride + pixel)
            .loadUnaligned(as: SIMD8<Int32>.self))
        // All ones for padding. (A comparison of `SIMD8<Int>` with a scalar compiles to a loop over lanes.)
        let padding = offsets &>> SIMD8<Int>(repeating: 63)
        let addresses = ((start &+ offsets &<< shift) & ~padding) | (zero & padding)
        UnsafeMutableRawPointer(pointers + tap * tileRows).storeBytes(of: addresses, as: SIMD8<Int>.self)
      }
      return
    }
    for row in 0..<tileRows {
      let start = base + sample * sampleBytes
      for tap in 0..<tapCount {
        let offset = first + row < total ? Int(table[tap * pixels.rowStride + pixel]) : -1
        pointers[tap * tileRows + row] = offset < 0 ? zeros : start + offset << elementShift
      }
      pixel += 1
      if pixel == pixels.pixelCount {
        pixel = 0
        sample += 1
      }
    }
  }
}
