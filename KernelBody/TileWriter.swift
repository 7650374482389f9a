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

/// A tile of 8 pixels whose rows have been found.
struct PixelTile {
  /// [tapCount][8] pointers to what the pixels read.
  let rows: UnsafePointer<UnsafeRawPointer>
  /// [8] where the pixels' channels begin in the target.
  let places: UnsafePointer<Int>
  /// The tile's number in its block.
  let slot: Int
  let firstPixel: Int
}

extension TileShares {
  /// Visits the tiles in blocks of at most `limit`: points `pointers` (of `withScratch`) to the rows of each tile of a block
  /// and lets `prepare` look at them, then calls `beginPanels` for every panel, or pair of panels, and `multiply` for every tile of it.
  ///
  /// A block keeps its row pointers (16 KB) and source pixels in cache while all weights pass over them; inside a block a
  /// panel pair stays in the second-level cache for all tiles. The target has `channels` per pixel and `sampleCount` floats per
  /// sample.
  @inline(__always)
  func visitBlocks(
    of source: RowSource, _ pixels: PixelClass, total: Int, sampleCount: Int, channels: Int,
    pointers: UnsafeMutablePointer<UnsafeRawPointer>, limit: Int = 64,
    prepare: (_ rows: UnsafeMutablePointer<UnsafeRawPointer>, _ slot: Int) -> Void = { _, _ in },
    beginPanels: (_ panel: Int, _ panels: Int) -> Void = { _, _ in },
    multiply: (_ tile: PixelTile, _ panel: Int, _ panels: Int) -> Void
  ) {
    let pointersPerTile = max(pixels.tapCount, 1) * tileRows
    let count = min(limit, 2048 / pointersPerTile)
    let places = UnsafeMutableRawPointer(pointers + 2048).assumingMemoryBound(to: Int.self)
    var first = tiles.lowerBound
    while first < tiles.upperBound {
      let end = min(first + count, tiles.upperBound)
      for tile in first..<end {
        let rows = pointers + (tile - first) * pointersPerTile
        source.gather(
          pixels, firstTap: 0, tapCount: pixels.tapCount, first: tile * tileRows, total: total, into: rows)
        pixels.locate(
          tile * tileRows, sampleCount: sampleCount, channels: channels, into: places + (tile - first) * tileRows)
        prepare(rows, tile - first)
      }
      var panel = panels.lowerBound
      while panel < panels.upperBound {
        let width = min(2, panels.upperBound - panel)
        beginPanels(panel, width)
        for tile in first..<end {
          let slot = tile - first
          multiply(
            PixelTile(
              rows: pointers + slot * pointersPerTile, places: places + slot * tileRows, slot: slot,
              firstPixel: tile * tileRows), panel, width)
        }
        panel += width
      }
      first = end
    }
  }
}

extension PixelClass {
  /// Writes where the channels of 8 pixels from `first` on begin in the target; pixels are numbered through all samples.
  @inline(__always)
  func locate(_ first: Int, sampleCount: Int, channels: Int, into places: UnsafeMutablePointer<Int>) {
    var sample = contiguous ? 0 : first / pixelCount
    var pixel = first - sample * pixelCount
    for row in 0..<tileRows {
      places[row] = sample * sampleCount + (contiguous ? pixel : Int(targets[pixel])) * channels
      pixel += 1
      if pixel == pixelCount && !contiguous {
        pixel = 0
        sample += 1
      }
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
  let accumulate: Bool

  @inline(__always)
  init(
    pixels: PixelClass, samples: Int, bias: UnsafePointer<Float>?, target: UnsafeMutablePointer<Float>, channels: Int,
    accumulate: Bool
  ) {
    self.pixels = pixels
    total = samples * pixels.pixelCount
    self.bias = bias
    self.target = target
    self.channels = channels
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
  func write(_ sums: UnsafePointer<Float>, _ tile: PixelTile, panel: Int, panels: Int) {
    let whole = (panel + panels) * 16 <= channels
    for row in 0..<min(tileRows, total - tile.firstPixel) {
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
