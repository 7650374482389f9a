// Where a tile's results go, and how tiles are dealt to parts.

internal import KernelsInterface

/// The tiles of 8 pixels and panels of 16 channels that a part computes.
///
/// Pixels are split when there are enough, so that a part reads its own pixels only; otherwise channels are, so that the
/// weights, by then megabytes, are read once by all parts together and not once by each.
struct TileShares {
  let tiles: Range<Int>
  let panels: Range<Int>

  @inline(__always)
  init(pixels: Int, channels: Int, part: Int, of parts: Int) {
    let (tileCount, panelCount) = ((pixels + tileRows - 1) / tileRows, (channels + 15) / 16)
    if tileCount >= 32 * parts || panelCount < 2 * parts {
      tiles = share(tileCount, part: part, of: parts)
      panels = 0..<panelCount
    } else {
      tiles = 0..<tileCount
      panels = share(panelCount, alignment: 2, part: part, of: parts)
    }
  }
}

extension TileShares {
  /// Visits the tiles in blocks of at most `limit`: points `pointers` (room for 2,048) to the rows of each tile of a block
  /// and lets `prepare` look at them, then calls `multiply` for every tile of every panel, or pair of panels.
  ///
  /// A block keeps its row pointers (16 KB) and source pixels in cache while all weights pass over them; inside a block a
  /// panel pair stays in the second-level cache for all tiles. `slot` numbers the tiles of a block.
  @inline(__always)
  func visitBlocks(
    of source: RowSource, _ pixels: PixelClass, total: Int, pointers: UnsafeMutablePointer<UnsafeRawPointer>,
    limit: Int = 64,
    prepare: (_ rows: UnsafeMutablePointer<UnsafeRawPointer>, _ slot: Int) -> Void = { _, _ in },
    multiply: (
      _ rows: UnsafePointer<UnsafeRawPointer>, _ slot: Int, _ firstPixel: Int, _ panel: Int, _ panels: Int
    ) -> Void
  ) {
    let pointersPerTile = max(pixels.tapCount, 1) * tileRows
    let count = min(limit, 2048 / pointersPerTile)
    var first = tiles.lowerBound
    while first < tiles.upperBound {
      let end = min(first + count, tiles.upperBound)
      for tile in first..<end {
        let rows = pointers + (tile - first) * pointersPerTile
        source.gather(
          pixels, firstTap: 0, tapCount: pixels.tapCount, first: tile * tileRows, total: total, into: rows)
        prepare(rows, tile - first)
      }
      var panel = panels.lowerBound
      while panel < panels.upperBound {
        let width = min(2, panels.upperBound - panel)
        for tile in first..<end {
          let rows = UnsafePointer(pointers + (tile - first) * pointersPerTile)
          multiply(rows, tile - first, tile * tileRows, panel, width)
        }
        panel += width
      }
      first = end
    }
  }
}

/// Stores [8, 32] tiles into the target images, with bias or accumulation.
struct TileWriter {
  let pixels: PixelClass
  /// Pixels of this class in all samples.
  let total: Int
  let bias: UnsafePointer<Float>?
  let target: UnsafeMutablePointer<Float>
  /// Channels of the target.
  let channels: Int
  /// Floats of one target sample.
  let sampleCount: Int
  let accumulate: Bool

  @inline(__always)
  init(
    pixels: PixelClass, samples: Int, bias: UnsafePointer<Float>?, target: UnsafeMutablePointer<Float>, channels: Int,
    sampleCount: Int, accumulate: Bool
  ) {
    self.pixels = pixels
    total = samples * pixels.pixelCount
    self.bias = bias
    self.target = target
    self.channels = channels
    self.sampleCount = sampleCount
    self.accumulate = accumulate
  }

  /// Where the micro-kernel may store a tile itself, rows `channels` apart, or nil: whole tiles of contiguous pixels
  /// with nothing to add.
  @inline(__always)
  func directTarget(firstPixel: Int, panel: Int, panels: Int) -> UnsafeMutablePointer<Float>? {
    let whole = firstPixel + tileRows <= total && (panel + panels) * 16 <= channels
    guard whole && pixels.contiguous && bias == nil && !accumulate else { return nil }
    return target + firstPixel * channels + panel * 16
  }

  /// Writes `panels` (1 or 2) times 16 channels of up to 8 pixels.
  @inline(__always)
  func write(_ tile: UnsafePointer<Float>, firstPixel: Int, panel: Int, panels: Int) {
    var sample = pixels.contiguous ? 0 : firstPixel / pixels.pixelCount
    var pixel = firstPixel - sample * pixels.pixelCount
    let whole = (panel + panels) * 16 <= channels
    for row in 0..<min(tileRows, total - firstPixel) {
      let place = pixels.contiguous ? pixel : Int(pixels.targets[pixel])
      let output = target + sample * sampleCount + place * channels + panel * 16
      let sums = tile + row * 32
      if whole {
        writeRow(sums, output, panel * 16, 16)
        if panels == 2 { writeRow(sums + 16, output + 16, panel * 16 + 16, 16) }
      } else {
        for index in 0..<panels {
          let k = (panel + index) * 16
          writeRow(sums + index * 16, output + index * 16, k, min(16, channels - k))
        }
      }
      pixel += 1
      if pixel == pixels.pixelCount && !pixels.contiguous {
        pixel = 0
        sample += 1
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
