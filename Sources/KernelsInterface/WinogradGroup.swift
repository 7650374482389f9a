// What a weight gradient by Winograd's algorithm works on together, and the memory that takes.

/// Channels and columns whose sums at the 16 positions of a patch stay in the second-level cache, with a block of tiles.
package struct WinogradGroup {
  /// Tiles transformed together, at most.
  package static let blockTiles = 32

  /// Input channels, a multiple of 16, at most 64.
  package let channels: Int
  /// Output channels, a multiple of 32, at most 128.
  package let columns: Int

  package init(_ geometry: ConvolutionGeometry) {
    channels = min(64, geometry.inputChannels)
    columns = min(128, (geometry.outputChannels + 31) / 32 * 32)
  }

  /// Floats of a tile of sums, 8 channels by 32 columns.
  package static let tileFloats = 256
  /// Floats of all sums.
  package var productCount: Int { 16 * channels * columns }
  /// Floats between two positions of transformed patches, and of transformed gradients.
  ///
  /// Off the powers of two, where cache lines would collide.
  package var rowStride: Int { channels * Self.blockTiles + 16 }
  package var columnStride: Int { columns * Self.blockTiles + 16 }
  /// Floats of a gradient that waits to be joined.
  package var gradientCount: Int { 9 * channels * columns }

  /// Floats that one thread needs where up to `levels` gradients wait.
  func scratchCount(levels: Int) -> Int {
    16 * (rowStride + columnStride) + productCount + levels * gradientCount
  }
}

extension ConvolutionPlan {
  /// Tiles of the weight gradient; nil where a shard has too few of them to pay for transforming its sums back.
  package func weightGradientTiles(samplesPerShard: Int) -> UnsafePointer<WinogradTable>? {
    guard let forwardTiles, samplesPerShard * forwardTiles.pointee.patches.pixelCount >= 16 else { return nil }
    return forwardTiles
  }

  /// Floats of scratch memory that one thread needs for `convolveWeightGradient`; may be 0.
  public func weightGradientScratchCount(samplesPerShard: Int, pieces: some Sequence<ShardPiece>) -> Int {
    guard weightGradientTiles(samplesPerShard: samplesPerShard) != nil else { return 0 }
    let levels = pieces.map(\.shardCount.trailingZeroBitCount).max() ?? 0
    return WinogradGroup(geometry).scratchCount(levels: levels)
  }
}
