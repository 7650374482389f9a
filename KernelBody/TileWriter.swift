// Where a tile's results go.

internal import KernelsInterface

/// Stores [8, 32] tiles into the target images, with bias or accumulation.
struct TileWriter {
  let bias: UnsafePointer<Float>?
  let target: UnsafeMutablePointer<Float>
  /// Channels of the target.
  let channels: Int
  let accumulate: Bool

  /// Where the micro-kernel may store a tile itself, rows `channels` apart, or nil: whole tiles of contiguous pixels
  /// with nothing to add.
  @inline(__always)
  func directTarget(_ tile: PixelTile, panel: Int, panels: Int) -> UnsafeMutablePointer<Float>? {
    let whole = tile.firstPixel + tileRows <= tile.total && (panel + panels) * 16 <= channels
    guard whole && tile.pixels.contiguous && bias == nil && !accumulate else { return nil }
    return target + tile.firstPixel * channels + panel * 16
  }

  /// Writes `panels` (1 or 2) times 16 channels of up to 8 pixels.
  @inline(__always)
  func write(_ sums: UnsafePointer<Float>, _ tile: PixelTile, panel: Int, panels: Int) {
    let whole = (panel + panels) * 16 <= channels
    for row in 0..<min(tileRows, tile.total - tile.firstPixel) {
      let output = target + tile.places[row] + panel * 16
      let sums = sums + row * 32
      if whole {
        writeRow(sums, output, panel * 16, 16)
        if panels == 2 { writeRow(sums + 16, output + 16, panel * 16 + 16, 16) }
      } else {
        for index in 0..<panels {
          let k = (panel + index) * 16
          writeRow(sums + index * 16, output + index * 16, k, min(16, channels - k))
        }
      }
    }
  }

  /// One row of up to 16 channels from channel k.
  @inline(__always)
  private func writeRow(
    _ sums: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>, _ k: Int, _ lanes: Int
  ) {
    var sum = load(sums)
    if let bias { sum += load(bias + k, lanes) }
    if accumulate { sum = load(output, lanes) + sum }
    store(sum, output, lanes)
  }
}
