// How Winograd products walk over an image: blocks of groups of 8 tiles, the panels that pass over a block, and where the four
// pixels of a tile lie.

internal import KernelsInterface

extension TileShares {
  /// Visits the tiles in blocks of at most `groups` groups of 8: points `pointers` (of `withScratch`, 128 for each group) to the
  /// source pixels of a group, [16][8], and lets `transform` point them to transformed patches instead; then calls
  /// `multiply` for every panel, or pair of panels, of the block, with those that come `next`.
  @inline(__always)
  func visitPatches(
    of source: RowSource, _ table: WinogradTable, total: Int, groups: Int,
    pointers: UnsafeMutablePointer<UnsafeRawPointer>,
    transform: (_ pointers: UnsafeMutablePointer<UnsafeRawPointer>, _ group: Int) -> Void,
    multiply: (_ panel: Int, _ panels: Int, _ next: Range<Int>, _ firstGroup: Int, _ groups: Int) -> Void
  ) {
    var first = tiles.lowerBound
    while first < tiles.upperBound {
      let count = min(groups, tiles.upperBound - first)
      for group in 0..<count {
        let pointers = pointers + group * 128
        source.gather(
          table.patches, firstTap: 0, tapCount: 16, first: (first + group) * tileRows, total: total, into: pointers)
        transform(pointers, group)
      }
      visitPanels { panel, panels, next in multiply(panel, panels, next, first, count) }
      first += count
    }
  }
}

extension WinogradTable {
  /// Visits up to 8 tiles from `firstTile` on; tiles and pixels are numbered through all samples.
  ///
  /// `pixel` is the first of the tile's 2x2 target pixels; the others exist where the tile `isWide` and `isHigh`.
  @inline(__always)
  func visitTiles(
    _ firstTile: Int, total: Int, _ body: (_ row: Int, _ pixel: Int, _ isWide: Bool, _ isHigh: Bool) -> Void
  ) {
    var sample = firstTile / patches.pixelCount
    var tile = firstTile - sample * patches.pixelCount
    for row in 0..<min(tileRows, total - firstTile) {
      let (y, x) = (tile / columns * 2, tile % columns * 2)
      body(row, (sample * height + y) * width + x, x + 1 < width, y + 1 < height)
      tile += 1
      if tile == patches.pixelCount {
        tile = 0
        sample += 1
      }
    }
  }
}
