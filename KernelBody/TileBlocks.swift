// How a product walks over its target: which tiles of 8 pixels and panels of 16 channels a part computes, and in what order.
//
// Target pixels come in classes that read the same taps. Their tiles are numbered one class after the other, and a block takes tiles as
// they come: of a large map the many of one class, of a small one those of all classes, so that weights pass over them once.

internal import KernelsInterface

/// The tiles of all classes of a product.
struct ClassTiles {
  let classes: UnsafeBufferPointer<PixelClass>
  let samples: Int

  /// Pixels of a class in all samples.
  @inline(__always)
  func pixelCount(_ kind: Int) -> Int { samples * classes[kind].pixelCount }

  @inline(__always)
  func count(_ kind: Int) -> Int { (pixelCount(kind) + tileRows - 1) / tileRows }

  @inline(__always)
  var count: Int {
    var sum = 0
    for kind in 0..<classes.count { sum += count(kind) }
    return sum
  }
}

/// The tiles and panels that a part computes.
///
/// Pixels are split when there are enough, so that a part reads its own pixels only; otherwise channels are, so that the
/// weights, by then megabytes, are read once by all parts together and not once by each.
struct TileShares {
  let tiles: Range<Int>
  let panels: Range<Int>

  @inline(__always)
  init(tileCount: Int, channels: Int, part: Int, of parts: Int) {
    let panelCount = (channels + 15) / 16
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
  /// Visits the panels two by two, where there are two, each with those that come after them: none, one or two.
  @inline(__always)
  func visitPanels(_ body: (_ panel: Int, _ panels: Int, _ next: Range<Int>) -> Void) {
    var panel = panels.lowerBound
    while panel < panels.upperBound {
      let next = min(panel + 2, panels.upperBound)
      body(panel, next - panel, next..<min(next + 2, panels.upperBound))
      panel = next
    }
  }
}

/// A tile of 8 pixels whose rows have been found.
struct PixelTile {
  /// The class that it is of.
  let pixels: PixelClass
  /// Pixels of the class in all samples.
  let total: Int
  /// [tapCount][8] pointers to what the pixels read.
  let rows: UnsafePointer<UnsafeRawPointer>
  /// [8] where the pixels' channels begin in the target.
  let places: UnsafePointer<Int>
  /// The tile's number in its block.
  let slot: Int
  /// Of the class, numbered through all samples.
  let firstPixel: Int
}

/// Tiles of a block, at most.
private let blockTiles = 64

extension TileShares {
  /// Visits the tiles in blocks of at most `limit`: points `pointers` (of `withScratch`) to the rows of each tile of a block
  /// and lets `prepare` look at them, then calls `beginPanels` for every panel, or pair of panels, with the classes that the block has,
  /// and for every tile of it `readAhead` with the panels that come next and the tile's share of reading them, and `multiply`.
  ///
  /// A block keeps its row pointers (16 KB) and source pixels in cache while all weights pass over them; inside a block a
  /// panel pair stays in the second-level cache for all tiles. The target has `channels` per pixel and `sampleCount` floats per
  /// sample.
  @inline(__always)
  func visitBlocks(
    of source: RowSource, _ classTiles: ClassTiles, sampleCount: Int, channels: Int,
    pointers: UnsafeMutablePointer<UnsafeRawPointer>, limit: Int = blockTiles,
    prepare: (_ tile: PixelTile, _ rows: UnsafeMutablePointer<UnsafeRawPointer>) -> Void = { _, _ in },
    beginPanels: (_ panel: Int, _ panels: Int, _ kinds: Range<Int>) -> Void = { _, _, _ in },
    readAhead: (_ panel: Int, _ panels: Int, _ share: Int, _ shares: Int) -> Void = { _, _, _, _ in },
    multiply: (_ tile: PixelTile, _ panel: Int, _ panels: Int) -> Void
  ) {
    // Of each tile of the block: its pointers, where its pixels lie, its class and its first pixel.
    let places = UnsafeMutableRawPointer(pointers + scratchPointers).assumingMemoryBound(to: Int.self)
    let offsets = places + blockTiles * tileRows
    let kinds = offsets + blockTiles
    let firstPixels = kinds + blockTiles
    @inline(__always)
    func tile(_ slot: Int) -> PixelTile {
      PixelTile(
        pixels: classTiles.classes[kinds[slot]], total: classTiles.pixelCount(kinds[slot]),
        rows: pointers + offsets[slot], places: places + slot * tileRows, slot: slot, firstPixel: firstPixels[slot])
    }
    var (next, kind, firstOfKind) = (tiles.lowerBound, 0, 0)
    while next < tiles.upperBound {
      var (count, used) = (0, 0)
      while count < limit && next < tiles.upperBound {
        while next - firstOfKind >= classTiles.count(kind) {
          firstOfKind += classTiles.count(kind)
          kind += 1
        }
        let pixels = classTiles.classes[kind]
        let pointerCount = max(pixels.tapCount, 1) * tileRows
        if used + pointerCount > scratchPointers { break }
        let first = (next - firstOfKind) * tileRows
        (offsets[count], kinds[count], firstPixels[count]) = (used, kind, first)
        source.gather(
          pixels, firstTap: 0, tapCount: pixels.tapCount, first: first, total: classTiles.pixelCount(kind),
          into: pointers + used)
        pixels.locate(first, sampleCount: sampleCount, channels: channels, into: places + count * tileRows)
        prepare(tile(count), pointers + used)
        used += pointerCount
        count += 1
        next += 1
      }
      visitPanels { panel, panels, next in
        beginPanels(panel, panels, kinds[0]..<kinds[count - 1] + 1)
        for slot in 0..<count {
          if !next.isEmpty { readAhead(next.lowerBound, next.count, slot, count) }
          multiply(tile(slot), panel, panels)
        }
      }
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

/// Row pointers of a block: 8 pixels of the largest kernel.
let scratchPointers = 2048

/// 2,048 row pointers with 704 numbers of `visitBlocks` behind them, and a tile of 8 x 32 floats, on the stack.
/// (`withUnsafeTemporaryAllocation` takes more than 1,024 bytes from the heap, and an inline array of vectors is made by a function
/// that levels would share.)
@inline(__always)
func withScratch(_ body: (UnsafeMutablePointer<UnsafeRawPointer>, UnsafeMutablePointer<Float>) -> Void) {
  var storage = InlineArray<2888, Int>(repeating: 0)
  withUnsafeMutableBytes(of: &storage) { storage in
    let start = storage.baseAddress!.alignedUp(toMultipleOf: 64)
    let tile = (start + 8 * (scratchPointers + 11 * blockTiles)).assumingMemoryBound(to: Float.self)
    body(start.assumingMemoryBound(to: UnsafeRawPointer.self), tile)
  }
}
