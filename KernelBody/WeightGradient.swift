// Weight gradient, finished tile by tile: dW[t, c, k] = sum over pixels p of x[p at tap t, c] * dy[p, k].
//
// A tile is 8 rows (t, c) by 32 columns k. A part takes up to 16 tiles at a time, so that a block of pixels read once
// from L2 serves them all from L1, and for each piece walks the shards: a shard's tiles are summed over its pixels in
// ascending order, then joined with the sums waiting on a small stack, as in Reduction.swift. Weights are written once
// per piece. Rejected: a whole gradient per shard, added afterwards, which streams the weights of the last stage (38
// MB) once per shard.

package import KernelsInterface

/// Tiles worked on together, and the floats they take.
private let groupTiles = 16
private let groupFloats = groupTiles * tileRows * 32
/// Pixels between two visits of a tile's sums to memory.
let blockPixels = 128

/// The pixels of one block as the micro-kernel wants them.
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
  /// Whether tiles hold 8 channels of one tap; else 8 consecutive (t, c), gathered into `stagedRows`.
  let aligned: Bool
  let rowCount: Int
  let rowGroups: Int
  /// [7][4096] floats, one entry per level of the tree.
  let stack: UnsafeMutablePointer<Float>
  let rows: UnsafeMutablePointer<UnsafeRawPointer>
  /// [128][8] floats.
  let stagedRows: UnsafeMutablePointer<Float>
  /// [128][32] floats.
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
    var stack = InlineArray<28688, Float>(repeating: 0)
    var staging = InlineArray<5136, Float>(repeating: 0)
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
            rowGroups: (rowCount + tileRows - 1) / tileRows,
            stack: stack.baseAddress!.alignedUp(toMultipleOf: 64).assumingMemoryBound(to: Float.self),
            rows: pointers.baseAddress!.assumingMemoryBound(to: UnsafeRawPointer.self), stagedRows: staged,
            stagedColumns: staged + blockPixels * tileRows)
          work.run(pieces, gradients, part: part, of: parts)
        }
      }
    }
  }
}

extension WeightGradient {
  /// Tiles are numbered column group by column group; a part takes a run of them, cut where a column group ends.
  func run(
    _ pieces: UnsafeBufferPointer<ShardPiece>, _ gradients: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int,
    of parts: Int
  ) {
    let columnGroups = (plan.geometry.outputChannels + 31) / 32
    let range = share(columnGroups * rowGroups, part: part, of: parts)
    var tile = range.lowerBound
    while tile < range.upperBound {
      let (columnGroup, group) = (tile / rowGroups, tile % rowGroups)
      let count = min(groupTiles, rowGroups - group, range.upperBound - tile)
      for index in 0..<pieces.count {
        sumPiece(pieces[index], group, count, columnGroup * 32)
        write(group, count, columnGroup * 32, gradients[index])
      }
      tile += count
    }
  }

  /// Leaves the tree sum of a piece in the lowest entry of the stack.
  @inline(__always)
  private func sumPiece(_ piece: ShardPiece, _ group: Int, _ count: Int, _ column: Int) {
    let floats = count * tileRows * 32
    var depth = 0
    for shard in 0..<piece.shardCount {
      sumShard(piece.firstLocalShard + shard, group, count, column, stack + depth * groupFloats)
      var joins = shard
      while joins & 1 == 1 {
        depth -= 1
        let (left, right) = (stack + depth * groupFloats, stack + (depth + 1) * groupFloats)
        forVectors(0..<floats) { i, _ in store(load(left + i) + load(right + i), left + i) }
        joins >>= 1
      }
      depth += 1
    }
  }

  /// One shard's sums of `count` tiles from row group `group`.
  @inline(__always)
  private func sumShard(_ shard: Int, _ group: Int, _ count: Int, _ column: Int, _ sums: UnsafeMutablePointer<Float>) {
    let outputs = plan.geometry.outputChannels
    let perShard = samplesPerShard * plan.forward.pixelCount
    forVectors(0..<(count * tileRows * 32)) { i, _ in store(.zero, sums + i) }
    let width = min(32, outputs - column)
    var first = shard * perShard
    let end = first + perShard
    while first < end {
      var block = PixelBlock(
        first: first, count: min(blockPixels, end - first), rows: rows,
        gradient: gradientOutput + first * outputs + column, gradientStride: outputs)
      if outputs > 32 || width % 16 != 0 { stageColumns(&block, width) }
      var tap = -1
      for index in 0..<count {
        let row = (group + index) * tileRows
        var channel = 0
        if aligned {
          let rowTap = row / plan.geometry.inputChannels
          channel = row - rowTap * plan.geometry.inputChannels
          if rowTap != tap {
            gather(block, tap: rowTap)
            tap = rowTap
          }
        } else {
          stageRows(block, firstRow: row)
        }
        let tile = sums + index * tileRows * 32
        if width > 16 {
          multiply32(block, channel, tile)
        } else {
          multiply16(block, channel, tile)
        }
      }
      first += block.count
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

  /// Copies 8 consecutive (t, c) of every pixel next to each other, zero past the last.
  private func stageRows(_ block: PixelBlock, firstRow: Int) {
    let channels = plan.geometry.inputChannels
    var tap = -1
    for lane in 0..<tileRows {
      let row = firstRow + lane
      guard row < rowCount else {
        for pixel in 0..<block.count { stagedRows[pixel * tileRows + lane] = 0 }
        continue
      }
      let rowTap = row / channels
      if rowTap != tap {
        gather(block, tap: rowTap)
        tap = rowTap
      }
      let channel = row - rowTap * channels
      for pixel in 0..<block.count {
        let source = block.rows[pixel].assumingMemoryBound(to: Float.self)
        stagedRows[pixel * tileRows + lane] = source[channel]
      }
    }
    for pixel in 0..<block.count { block.rows[pixel] = UnsafeRawPointer(stagedRows + pixel * tileRows) }
  }

  /// Copies the block's columns together, zero past the last: 16 KB that stay in L1 for all tiles, where rows of 512
  /// channels would fall on the same few cache sets.
  private func stageColumns(_ block: inout PixelBlock, _ width: Int) {
    for pixel in 0..<block.count {
      let source = block.gradient + pixel * block.gradientStride
      let target = stagedColumns + pixel * 32
      store(load(source, width), target)
      if width > 16 { store(load(source + 16, width - 16), target + 16) }
    }
    block.gradient = UnsafePointer(stagedColumns)
    block.gradientStride = 32
  }

  /// Writes finished tiles into [T, C, K].
  private func write(_ group: Int, _ count: Int, _ column: Int, _ gradient: UnsafeMutablePointer<Float>) {
    let outputs = plan.geometry.outputChannels
    let first = group * tileRows
    for row in 0..<min(count * tileRows, rowCount - first) {
      let target = gradient + (first + row) * outputs + column
      forVectors(0..<min(32, outputs - column)) { k, lanes in store(load(stack + row * 32 + k), target + k, lanes) }
    }
  }
}
