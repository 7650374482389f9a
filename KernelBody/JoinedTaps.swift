// Int8 layers of 1 to 3 input channels: what a pixel reads, copied tap by tap into one run, so that a product sees one tap of T * C
// channels instead of T taps that are over before they have begun.
//
// The taps of a kernel's row lie in the image as they lie in the run, so a row is copied at once unless some of it is padding: the
// 7x7 stem of 3 channels takes 7 copies of 21 bytes for a pixel, not 147.
// Not for floats: runs of four times the bytes do not stay in the first-level cache, and cost what they save.

internal import KernelsInterface

/// How a pixel's taps become a run.
struct JoinedTaps {
  private let kernelHeight: Int
  private let kernelWidth: Int
  private let channels: Int
  /// Bytes from one pixel's run to the next: whole words of 8.
  let stride: Int

  /// Channels of which a run is made, at most; a run has at most `largestCount` bytes.
  private static let largestChannels = 3
  private static let largestCount = 160

  /// Nil where taps stay apart.
  @inline(__always)
  init?(_ geometry: ConvolutionGeometry) {
    let count = geometry.taps * geometry.inputChannels
    guard geometry.inputChannels <= Self.largestChannels && geometry.taps > 1 && count <= Self.largestCount else {
      return nil
    }
    kernelHeight = geometry.kernelHeight
    kernelWidth = geometry.kernelWidth
    channels = geometry.inputChannels
    stride = (count + 7) / 8 * 8
  }

  /// Copies (t, c) of `range` of the run of pixel `row` of a tile, and what belongs to the same rows of the kernel.
  ///
  /// - Parameters:
  ///   - pointers: [T][8], as `RowSource.gather` leaves them.
  ///   - run: where the run of the pixel begins.
  @inline(__always)
  func copy(
    _ range: Range<Int>, _ pointers: UnsafePointer<UnsafeRawPointer>, row: Int, to run: UnsafeMutableRawPointer
  ) {
    let rowBytes = kernelWidth * channels
    let end = min(kernelHeight, (range.upperBound + rowBytes - 1) / rowBytes)
    for y in range.lowerBound / rowBytes..<end {
      let taps = pointers + y * kernelWidth * tileRows + row
      let target = run + y * rowBytes
      if taps[(kernelWidth - 1) * tileRows] - taps[0] == rowBytes - channels {
        copyBytes(taps[0], to: target, rowBytes)
      } else {
        for x in 0..<kernelWidth { copyBytes(taps[x * tileRows], to: target + x * channels, channels) }
      }
    }
  }
}

/// Copies by vectors, the last of which may overlap the one before.
@inline(__always)
private func copyBytes(_ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _ count: Int) {
  if count >= 16 {
    var offset = 0
    while offset + 16 < count {
      copy16(source + offset, to: target + offset)
      offset += 16
    }
    copy16(source + count - 16, to: target + count - 16)
  } else {
    for offset in 0..<count {
      target.storeBytes(of: source.load(fromByteOffset: offset, as: UInt8.self), toByteOffset: offset, as: UInt8.self)
    }
  }
}

@inline(__always)
private func copy16(_ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer) {
  target.storeBytes(of: source.loadUnaligned(as: SIMD2<Int64>.self), as: SIMD2<Int64>.self)
}
