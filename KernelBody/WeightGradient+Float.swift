// Weight gradients of floats: a shard's pixels in ascending order, one chain per weight.

internal import KernelsInterface

extension WeightGradient {
  /// One shard's sums of `count` rows of tiles from row group `group`, joined with `joins` entries below on the stack.
  @inline(__always)
  func sumFloats(
    _ gradientOutput: UnsafePointer<Float>, _ shard: Int, _ group: Int, _ count: Int, _ column: Int,
    _ sums: UnsafeMutablePointer<Float>, joins: Int
  ) {
    let outputs = plan.geometry.outputChannels
    let pixels = pixels(group)
    let perShard = samplesPerShard * pixels.pixelCount
    let columns = (min(columns * 32, outputs - column) + 31) / 32
    let isStaged = outputs > 32 || outputs % 16 != 0 || plan.tapPixels != nil
    let start = shard * perShard
    var first = start
    let end = first + perShard
    while first < end {
      let block = block(
        pixels, first..<min(first + blockPixels, end), gradientOutput, elementBytes: 4)
      if isStaged {
        for index in 0..<columns { stageColumns(block, column + index * 32, index) }
      }
      let tileSums = TileSums(startFromZero: first == start, joins: first + block.count == end ? joins : 0)
      var tap = -1
      for index in 0..<count {
        if index % 2 == 0 { stageRows(block, group + index, min(2, count - index), &tap) }
        let staged = stagedRows + index % 2 * tileRows
        for columnIndex in 0..<columns {
          let gradient =
            isStaged
            ? GradientColumns(first: stagedColumns + columnIndex * blockPixels * 32, stride: 32)
            : GradientColumns(first: gradientOutput + first * outputs, stride: outputs)
          let tile = sums + (index * self.columns + columnIndex) * tileRows * 32
          if outputs - column - columnIndex * 32 > 16 {
            addProducts32(block.count, staged, gradient, tile, tileSums)
          } else {
            addProducts16(block.count, staged, gradient, tile, tileSums)
          }
        }
      }
      first += block.count
    }
  }

  /// Copies the rows of one or two tiles next to each other, a cache line per pixel, so that the micro-kernel reads 8 KB
  /// that stay in L1, where rows of 128 channels and more would fall on the same few cache sets.
  ///
  /// - Parameter tap: what `rows` points to, or -1.
  @inline(__always)
  private func stageRows(_ block: PixelBlock, _ group: Int, _ tiles: Int, _ tap: inout Int) {
    stage(block, group, tiles, &tap) { channel, tiles, index in
      copyRows(block, channel, tiles: tiles, to: stagedRows + index * tileRows)
    } copySingle: { firstRow, index in
      stageSingleRows(block, firstRow, to: stagedRows + index * tileRows)
    }
  }

  /// Copies 8 channels of every pixel for each of one or two tiles.
  @inline(__always)
  private func copyRows(_ block: PixelBlock, _ channel: Int, tiles: Int, to target: UnsafeMutablePointer<Float>) {
    let target = UnsafeMutableRawPointer(target)
    for pixel in 0..<block.count {
      let (row, place) = (block.rows[pixel] + channel * 4, target + pixel * stagedStride * 4)
      if tiles == 2 {
        place.storeBytes(of: row.loadUnaligned(as: Floats.self), as: Floats.self)
      } else {
        place.storeBytes(of: row.loadUnaligned(as: SIMD8<Float>.self), as: SIMD8<Float>.self)
      }
    }
  }

  /// Copies 8 consecutive (t, c) of every pixel, zero past the last.
  private func stageSingleRows(_ block: PixelBlock, _ firstRow: Int, to target: UnsafeMutablePointer<Float>) {
    visitRows(block, firstRow) { lane, channel in
      for pixel in 0..<block.count {
        target[pixel * stagedStride + lane] =
          channel.map { block.rows[pixel].load(fromByteOffset: $0 * 4, as: Float.self) } ?? 0
      }
    }
  }

  /// Copies 32 of the block's columns together, zero past the last: 16 KB that stay in L1 for all tiles.
  @inline(__always)
  private func stageColumns(_ block: PixelBlock, _ column: Int, _ index: Int) {
    let width = min(32, plan.geometry.outputChannels - column)
    let columns = stagedColumns + index * blockPixels * 32
    for pixel in 0..<block.count {
      let source = block.gradients[pixel].assumingMemoryBound(to: Float.self) + column
      let target = columns + pixel * 32
      store(load(source, width), target)
      if width > 16 { store(load(source + 16, width - 16), target + 16) }
    }
  }
}
