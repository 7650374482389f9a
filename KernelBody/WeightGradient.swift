// Weight gradient, finished tile by tile: dW[t, c, k] = sum over pixels p of x[p at tap t, c] * dy[p, k].
//
// A tile is 8 rows (t, c) by 32 columns k. A part takes up to 64 tiles at a time, so that a block of pixels read once
// serves them all, and for each piece walks the shards: a shard's tiles are summed over its pixels in ascending order,
// then joined with the sums waiting on a small stack, as in Reduction.swift. Weights are written once per piece.
// WeightGradient+Float and WeightGradient+Int16 say how a shard is summed, from floats or from int8 by int16.
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
/// Pixels between two visits of a tile's sums to memory; of int16, that many pairs.
let blockPixels = 128
/// Floats of `stagedRows` from one pixel to the next: two tiles, one cache line.
///
/// Of int16, words from one pair of pixels to the next.
let stagedStride = 2 * tileRows

/// dy, and with it what x is.
enum OutputGradient {
  /// Both are floats.
  case float(UnsafePointer<Float>)
  /// x is int8; a product of integers is worth scales[shard, k].
  case int16(UnsafePointer<Int16>, scales: UnsafePointer<Float>)
}

/// One part's view of a weight gradient.
struct WeightGradient {
  let plan: ConvolutionPlan
  let source: RowSource
  let gradient: OutputGradient
  let samplesPerShard: Int
  /// Whether tiles hold 8 channels of one tap; else 8 consecutive (t, c).
  let aligned: Bool
  /// How int8 taps become one run, of which tiles then take 8 (t, c) at once; nil where they do not.
  let joined: JoinedTaps?
  /// [256] runs.
  let runs: UnsafeMutableRawPointer
  let rowCount: Int
  let rowGroups: Int
  /// Columns of tiles in a group.
  let columns: Int
  /// [7][groupFloats] floats, one entry per level of the tree.
  let stack: UnsafeMutablePointer<Float>
  /// [2][256] pointers: rows of x, rows of dy; then [T][8] of 8 pixels, where taps are joined.
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
    gradients: UnsafePointer<UnsafeMutablePointer<Float>>, scratch: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    if let tiles = plan.weightGradientTiles(samplesPerShard: samplesPerShard) {
      return withScratch { pointers, _ in
        WinogradWeightGradient(
          plan, tiles.pointee, input: input, gradientOutput: gradientOutput, samplesPerShard: samplesPerShard,
          scratch: scratch, pointers: pointers
        ).run(pieces, gradients, part: part, of: parts)
      }
    }
    let source = RowSource(
      base: input, sampleBytes: plan.geometry.inputCount * 4, elementShift: 2, zeros: plan.zeros)
    withWeightGradient(plan, source, .float(gradientOutput), samplesPerShard: samplesPerShard) {
      $0.run(pieces, gradients, part: part, of: parts)
    }
  }

  package static func convolveWeightGradientInt16(
    _ plan: ConvolutionPlan, samplesPerShard: Int, pieces: UnsafeBufferPointer<ShardPiece>,
    input: UnsafePointer<Int8>, gradientOutput: UnsafePointer<Int16>, scales: UnsafePointer<Float>,
    gradients: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int, of parts: Int
  ) {
    let source = RowSource(base: input, sampleBytes: plan.geometry.inputCount, elementShift: 0, zeros: plan.zeros)
    withWeightGradient(plan, source, .int16(gradientOutput, scales: scales), samplesPerShard: samplesPerShard) {
      $0.run(pieces, gradients, part: part, of: parts)
    }
  }
}

/// Lends the work its memory, on the stack.
@inline(__always)
private func withWeightGradient(
  _ plan: ConvolutionPlan, _ source: RowSource, _ gradient: OutputGradient, samplesPerShard: Int,
  _ body: (WeightGradient) -> Void
) {
  let g = plan.geometry
  let rowCount = g.taps * g.inputChannels
  // Of scalars: an inline array of vectors is made by a function that levels would share.
  var stack = InlineArray<114704, Float>(repeating: 0)
  var staging = InlineArray<18448, Float>(repeating: 0)
  var pointers = InlineArray<1792, Int>(repeating: 0)
  var runs = InlineArray<5120, Int64>(repeating: 0)
  withUnsafeMutableBytes(of: &stack) { stack in
    withUnsafeMutableBytes(of: &staging) { staging in
      withUnsafeMutableBytes(of: &pointers) { pointers in
        withUnsafeMutableBytes(of: &runs) { runs in
          let staged = staging.baseAddress!.alignedUp(toMultipleOf: 64).assumingMemoryBound(to: Float.self)
          body(
            WeightGradient(
              plan: plan, source: source, gradient: gradient, samplesPerShard: samplesPerShard,
              aligned: g.inputChannels % tileRows == 0,
              joined: source.elementShift == 0 ? JoinedTaps(g) : nil, runs: runs.baseAddress!,
              rowCount: rowCount, rowGroups: (rowCount + tileRows - 1) / tileRows,
              columns: min(groupColumns, (g.outputChannels + 31) / 32),
              stack: stack.baseAddress!.alignedUp(toMultipleOf: 64).assumingMemoryBound(to: Float.self),
              rows: pointers.baseAddress!.assumingMemoryBound(to: UnsafeRawPointer.self), stagedRows: staged,
              stagedColumns: staged + blockPixels * stagedStride))
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
    let tapGroups = plan.geometry.inputChannels / tileRows
    var tile = range.lowerBound
    while tile < range.upperBound {
      let (columnGroup, group) = (tile / rowGroups, tile % rowGroups)
      // The run to the end of the columns, or of the tap where each has pixels of its own, in groups of about equal size.
      let runEnd = plan.tapPixels == nil ? rowGroups : (group / tapGroups + 1) * tapGroups
      let run = min(runEnd - group, range.upperBound - tile)
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
      let leaf = stack + depth * groupFloats
      let joins = (~shard).trailingZeroBitCount
      if piece.halfScale == 0 {
        sumShard(piece.firstLocalShard + shard, group, count, column, leaf, joins: joins)
      } else {
        sumShard(piece.firstLocalShard + shard, group, count, column, leaf, joins: 0)
        joinHalves(depth, joins, piece.halfScale)
      }
      depth += 1 - joins
    }
  }

  /// Rounds the leaf at `depth` to halves and joins it with `joins` entries below it, each node rounded.
  private func joinHalves(_ depth: Int, _ joins: Int, _ scale: Float) {
    let leaf = stack + depth * groupFloats
    forVectors(0..<groupFloats) { i, _ in store(kept(load(leaf + i), scale), leaf + i) }
    for join in 0..<joins {
      let (left, right) = (stack + (depth - join - 1) * groupFloats, stack + (depth - join) * groupFloats)
      forVectors(0..<groupFloats) { i, _ in store(kept(load(left + i) + load(right + i), scale), left + i) }
    }
  }

  /// One shard's sums of `count` rows of tiles from row group `group`, joined with `joins` entries below on the stack.
  @inline(__always)
  private func sumShard(
    _ shard: Int, _ group: Int, _ count: Int, _ column: Int, _ sums: UnsafeMutablePointer<Float>, joins: Int
  ) {
    guard pixels(group).pixelCount > 0 else { return clear(count, sums, joins: joins) }
    switch gradient {
    case .float(let values): sumFloats(values, shard, group, count, column, sums, joins: joins)
    case .int16(let values, let scales): sumIntegers(values, scales, shard, group, count, column, sums, joins: joins)
    }
  }

  /// The sums of no pixels: zero, and so is a node of zeros.
  private func clear(_ count: Int, _ sums: UnsafeMutablePointer<Float>, joins: Int) {
    let node = sums - joins * groupFloats
    forVectors(0..<count * columns * tileRows * 32) { i, _ in store(.zero, node + i) }
  }

  /// Writes finished tiles into panels of 16 columns.
  private func write(_ group: Int, _ count: Int, _ column: Int, _ gradient: UnsafeMutablePointer<Float>) {
    let first = group * tileRows
    let end = min(column + columns * 32, plan.geometry.outputChannels)
    forVectors(column..<end) { k, lanes in
      let panel = gradient + rowCount * k + first * lanes
      let sums = stack + (k - column) / 32 * tileRows * 32 + (k - column) % 32
      for row in 0..<min(count * tileRows, rowCount - first) {
        store(load(sums + row / tileRows * columns * tileRows * 32 + row % tileRows * 32), panel + row * lanes, lanes)
      }
    }
  }
}
