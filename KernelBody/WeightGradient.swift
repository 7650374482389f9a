// Weight gradient, finished tile by tile: dW[t, c, k] = sum over pixels p of x[p at tap t, c] * dy[p, k].
//
// A tile is 8 rows (t, c) by 32 columns k. A part takes up to 64 tiles at a time, so that a block of pixels read once
// serves them all, and for each piece walks the shards: a shard's tiles are summed over its pixels in ascending order,
// then joined with the sums waiting on a small stack, as in Reduction.swift. Weights are written once per piece.
// Rejected: a whole gradient per shard, added afterwards, which streams the weights of the last stage (38 MB) once per
// shard.

package import KernelsInterface

/// Tiles worked on together, at most `groupColumns` side by side, and the floats they take: 64 KB.
///
/// A group reads 128
/// rows and 128 columns of every pixel for 128 x 128 multiply-adds, which the third-level cache can feed; groups of 16
/// tiles ran at half the speed.
private let groupTiles = 64
private let groupColumns = 4
let groupFloats = groupTiles * tileRows * 32
/// Pixels between two visits of a tile's sums to memory.
private let blockPixels = 128
/// Floats of `stagedRows` from one pixel to the next: two tiles, one cache line.
let stagedStride = 2 * tileRows

/// The pixels of one block, with 32 columns of dy, as the micro-kernel wants them.
struct PixelBlock {
  let first: Int
  let count: Int
  /// [128] pointers to the rows of x.
  let rows: UnsafeMutablePointer<UnsafeRawPointer>
  /// Columns k of dy, and the floats between pixels.
  var gradient: UnsafePointer<Float>
  var gradientStride: Int
}

/// One part's view of a weight gradient.
struct WeightGradient {
  let plan: ConvolutionPlan
  let source: RowSource
  let gradientOutput: UnsafePointer<Float>
  let samplesPerShard: Int
  /// Whether tiles hold 8 channels of one tap; else 8 consecutive (t, c).
  let aligned: Bool
  let rowCount: Int
  let rowGroups: Int
  /// Columns of tiles in a group.
  let columns: Int
  /// [7][groupFloats] floats, one entry per level of the tree.
  let stack: UnsafeMutablePointer<Float>
  let rows: UnsafeMutablePointer<UnsafeRawPointer>
  /// [128][16] floats: the rows of two tiles.
  let stagedRows: UnsafeMutablePointer<Float>
  /// [columns][128][32] floats.
  let stagedColumns: UnsafeMutablePointer<Float>
}

extension Body {
  package static func convolveWeightGradient(
    _ plan: ConvolutionPlan, samplesPerShard: Int, pieces: UnsafeBufferPointer<ShardPiece>,
    input: UnsafePointer<Float>, gradientOutput: UnsafePointer<Float>,
    gradients: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int, of parts: Int
  ) {
    let g = plan.geometry
    let rowCount = g.taps * g.inputChannels
    // Of scalars: an inline array of vectors is made by a function that levels would share.
    var stack = InlineArray<114704, Float>(repeating: 0)
    var staging = InlineArray<18448, Float>(repeating: 0)
    var pointers = InlineArray<128, Int>(repeating: 0)
    withUnsafeMutableBytes(of: &stack) { stack in
      withUnsafeMutableBytes(of: &staging) { staging in
        withUnsafeMutableBytes(of: &pointers) { pointers in
          let staged = staging.baseAddress!.alignedUp(toMultipleOf: 64).assumingMemoryBound(to: Float.self)
          let work = WeightGradient(
            plan: plan,
            source: RowSource(base: input, sampleBytes: g.inputCount * 4, elementShift: 2, zeros: plan.zeros),
            gradientOutput: gradientOutput, samplesPerShard: samplesPerShard,
            aligned: g.inputChannels % tileRows == 0, rowCount: rowCount,
            rowGroups: (rowCount + tileRows - 1) / tileRows, columns: min(groupColumns, (g.outputChannels + 31) / 32),
            stack: stack.baseAddress!.alignedUp(toMultipleOf: 64).assumingMemoryBound(to: Float.self),
            rows: pointers.baseAddress!.assumingMemoryBound(to: UnsafeRawPointer.self), stagedRows: staged,
            stagedColumns: staged + blockPixels * stagedStride)
          work.run(pieces, gradients, part: part, of: parts)
        }
      }
    }
  }
}

extension WeightGradient {
  /// Rows of tiles are numbered column group by column group; a part takes a run of them, cut where a group ends.
  func run(
    _ pieces: UnsafeBufferPointer<ShardPiece>, _ gradients: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int,
    of parts: Int
  ) {
    let width = columns * 32
    let columnGroups = (plan.geometry.outputChannels + width - 1) / width
    let range = share(columnGroups * rowGroups, part: part, of: parts)
    var tile = range.lowerBound
    while tile < range.upperBound {
      let (columnGroup, group) = (tile / rowGroups, tile % rowGroups)
      // The run to the end of the columns, in groups of about equal size.
      let run = min(rowGroups - group, range.upperBound - tile)
      let groups = (run * columns + groupTiles - 1) / groupTiles
      let count = (run + groups - 1) / groups
      for index in 0..<pieces.count {
        sumPiece(pieces[index], group, count, columnGroup * width)
        write(group, count, columnGroup * width, gradients[index])
      }
      tile += count
    }
  }

  /// Leaves the tree sum of a piece in the lowest entry of the stack.
  @inline(__always)
  private func sumPiece(_ piece: ShardPiece, _ group: Int, _ count: Int, _ column: Int) {
    var depth = 0
    for shard in 0..<piece.shardCount {
      let joins = (~shard).trailingZeroBitCount
      sumShard(piece.firstLocalShard + shard, group, count, column, stack + depth * groupFloats, joins: joins)
      depth += 1 - joins
    }
  }

  /// One shard's sums of `count` rows of tiles from row group `group`, joined with `joins` entries below on the stack.
  @inline(__always)
  private func sumShard(
    _ shard: Int, _ group: Int, _ count: Int, _ column: Int, _ sums: UnsafeMutablePointer<Float>, joins: Int
  ) {
    let outputs = plan.geometry.outputChannels
    let perShard = samplesPerShard * plan.forward.pixelCount
    let columns = (min(columns * 32, outputs - column) + 31) / 32
    let isStaged = outputs > 32 || outputs % 16 != 0
    let start = shard * perShard
    var first = start
    let end = first + perShard
    while first < end {
      var block = PixelBlock(
        first: first, count: min(blockPixels, end - first), rows: rows, gradient: gradientOutput + first * outputs,
        gradientStride: outputs)
      if isStaged {
        for index in 0..<columns { stageColumns(block, column + index * 32, index) }
        block.gradientStride = 32
      }
      let tileSums = TileSums(startFromZero: first == start, joins: first + block.count == end ? joins : 0)
      var tap = -1
      for index in 0..<count {
        if index % 2 == 0 { stageRows(block, group + index, min(2, count - index), &tap) }
        let staged = stagedRows + index % 2 * tileRows
        for columnIndex in 0..<columns {
          if isStaged { block.gradient = UnsafePointer(stagedColumns + columnIndex * blockPixels * 32) }
          let tile = sums + (index * self.columns + columnIndex) * tileRows * 32
          if outputs - column - columnIndex * 32 > 16 {
            multiply32(block, staged, tile, tileSums)
          } else {
            multiply16(block, staged, tile, tileSums)
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
    let channels = plan.geometry.inputChannels
    if aligned {
      for index in 0..<tiles {
        let row = (group + index) * tileRows
        let rowTap = row / channels
        let channel = row - rowTap * channels
        if rowTap != tap {
          gather(block, tap: rowTap)
          tap = rowTap
        }
        if index == 0 && tiles == 2 && channel + stagedStride <= channels {
          copyRows(block, channel, tiles: 2, to: stagedRows)
          break
        }
        copyRows(block, channel, tiles: 1, to: stagedRows + index * tileRows)
      }
    } else {
      for index in 0..<tiles { stageSingleRows(block, (group + index) * tileRows, to: stagedRows + index * tileRows) }
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

  /// Pointers to what each pixel of the block reads at a tap.
  @inline(__always)
  private func gather(_ block: PixelBlock, tap: Int) {
    var pixel = 0
    while pixel < block.count {
      source.gather(
        plan.forward, firstTap: tap, tapCount: 1, first: block.first + pixel, total: block.first + block.count,
        into: block.rows + pixel)
      pixel += tileRows
    }
  }

  /// Copies 8 consecutive (t, c) of every pixel, zero past the last.
  private func stageSingleRows(_ block: PixelBlock, _ firstRow: Int, to target: UnsafeMutablePointer<Float>) {
    let channels = plan.geometry.inputChannels
    var tap = -1
    for lane in 0..<tileRows {
      let row = firstRow + lane
      guard row < rowCount else {
        for pixel in 0..<block.count { target[pixel * stagedStride + lane] = 0 }
        continue
      }
      let rowTap = row / channels
      if rowTap != tap {
        gather(block, tap: rowTap)
        tap = rowTap
      }
      let channel = row - rowTap * channels
      for pixel in 0..<block.count {
        target[pixel * stagedStride + lane] = block.rows[pixel].assumingMemoryBound(to: Float.self)[channel]
      }
    }
  }

  /// Copies 32 of the block's columns together, zero past the last: 16 KB that stay in L1 for all tiles.
  @inline(__always)
  private func stageColumns(_ block: PixelBlock, _ column: Int, _ index: Int) {
    let width = min(32, plan.geometry.outputChannels - column)
    let columns = stagedColumns + index * blockPixels * 32
    for pixel in 0..<block.count {
      let source = block.gradient + pixel * block.gradientStride + column
      let target = columns + pixel * 32
      store(load(source, width), target)
      if width > 16 { store(load(source + 16, width - 16), target + 16) }
    }
  }

  /// Writes finished tiles into [T, C, K].
  private func write(_ group: Int, _ count: Int, _ column: Int, _ gradient: UnsafeMutablePointer<Float>) {
    let outputs = plan.geometry.outputChannels
    let first = group * tileRows
    for row in 0..<min(count * tileRows, rowCount - first) {
      let sums = stack + row / tileRows * columns * tileRows * 32 + row % tileRows * 32
      let target = gradient + (first + row) * outputs + column
      let width = min(columns * 32, outputs - column)
      forVectors(0..<width) { k, lanes in store(load(sums + k / 32 * tileRows * 32 + k % 32), target + k, lanes) }
    }
  }
}
