// Weight gradients of 3x3 convolutions with stride 1 by Winograd's F(3x3, 2x2), the transpose of Winograd.swift's F(2x2, 3x3):
// the derivative of Y = A^T [ (G g G^T) * (B^T d B) ] A with respect to g is
//
//   dg = G^T [ (A dy A^T) * (B^T d B) ] G        d: 4x4 source pixels, dy: 2x2 target pixels
//
// with the transformation from the left once for all tiles: 16 multiplications for 4 pixels instead of 36. What is in brackets is
// 16 sums over tiles of outer products, channels by columns, by the micro-kernel of the direct weight gradient.
// A part takes up to 64 channels and 128 columns at a time, so that their sums at the 16 positions (512 KB) and a block of
// transformed tiles (384 KB) stay in the second-level cache. Each shard is transformed back before shards are joined, since its
// gradient must not depend on which shards are on the same machine.

internal import KernelsInterface

/// One part's view of a weight gradient by tiles.
struct WinogradWeightGradient {
  let plan: ConvolutionPlan
  let tiles: WinogradTable
  let input: RowSource
  let gradientOutput: RowSource
  let samplesPerShard: Int
  /// The most that is worked on together.
  let group: WinogradGroup
  /// [16][channels/16][blockTiles][16] transformed patches of x.
  let rows: UnsafeMutablePointer<Float>
  /// [16][columns/32][blockTiles][32] transformed tiles of dy.
  let columns: UnsafeMutablePointer<Float>
  /// [columns/32][channels/8][16][8][32] sums of a shard, tile by tile.
  let products: UnsafeMutablePointer<Float>
  /// [levels][columns/32][channels/8][9][8][32] gradients that wait to be joined.
  let stack: UnsafeMutablePointer<Float>
  /// Room for what 8 tiles read: [16][8] pixels of x, or [4][8] of dy.
  let pointers: UnsafeMutablePointer<UnsafeRawPointer>

  init(
    _ plan: ConvolutionPlan, _ tiles: WinogradTable, input: UnsafePointer<Float>, gradientOutput: UnsafePointer<Float>,
    samplesPerShard: Int, scratch: UnsafeMutablePointer<Float>, pointers: UnsafeMutablePointer<UnsafeRawPointer>
  ) {
    let g = plan.geometry
    self.plan = plan
    self.tiles = tiles
    self.input = RowSource(base: input, sampleBytes: g.inputCount * 4, elementShift: 2, zeros: plan.zeros)
    self.gradientOutput = RowSource(
      base: gradientOutput, sampleBytes: g.outputCount * 4, elementShift: 2, zeros: plan.zeros)
    self.samplesPerShard = samplesPerShard
    group = WinogradGroup(g)
    rows = scratch
    columns = rows + 16 * group.rowStride
    products = columns + 16 * group.columnStride
    stack = products + group.productCount
    self.pointers = pointers
  }
}

/// The channels and columns that are worked on.
struct WinogradRange {
  let firstChannel: Int
  let channels: Int
  let firstColumn: Int
  let columns: Int

  /// Tiles of 32 columns, the last of which may have 16.
  var columnTiles: Int { (columns + 31) / 32 }
}

/// 8 channels by 32 columns of a range.
struct WinogradTile {
  let row: Int
  let column: Int
  let index: Int
  /// [16][8][32].
  let sums: UnsafeMutablePointer<Float>
}

extension WinogradWeightGradient {
  /// Computes this part's channels and columns of every piece.
  func run(
    _ pieces: UnsafeBufferPointer<ShardPiece>, _ gradients: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int,
    of parts: Int
  ) {
    let (panels, outputs) = (plan.geometry.inputChannels / 16, plan.geometry.outputChannels)
    let share = share((outputs + group.columns - 1) / group.columns * panels, part: part, of: parts)
    var next = share.lowerBound
    while next < share.upperBound {
      let (columnGroup, panel) = (next / panels, next % panels)
      // The run to the end of the channels, in groups of about equal size.
      let run = min(panels - panel, share.upperBound - next)
      let groups = (run * 16 + group.channels - 1) / group.channels
      let count = (run + groups - 1) / groups
      let firstColumn = columnGroup * group.columns
      let range = WinogradRange(
        firstChannel: panel * 16, channels: count * 16, firstColumn: firstColumn,
        columns: min(group.columns, outputs - firstColumn))
      for index in 0..<pieces.count { sumPiece(pieces[index], range, gradients[index]) }
      next += count
    }
  }

  /// Writes the tree sum of a piece, by the stack of Reduction.swift.
  private func sumPiece(_ piece: ShardPiece, _ range: WinogradRange, _ gradient: UnsafeMutablePointer<Float>) {
    let result = gradient + range.firstColumn * 9 * plan.geometry.inputChannels + range.firstChannel * 16
    var depth = 0
    for shard in 0..<piece.shardCount {
      let joins = (~shard).trailingZeroBitCount
      depth -= joins
      let isLast = shard + 1 == piece.shardCount
      let node = WinogradNode(
        result: isLast ? result : nil, depth: depth, joins: joins, halfScale: piece.halfScale)
      sumShard(piece.firstLocalShard + shard, range, node)
      depth += 1
    }
  }

  /// Sums a shard's tiles block by block and writes the node.
  private func sumShard(_ shard: Int, _ range: WinogradRange, _ node: WinogradNode) {
    let count = samplesPerShard * tiles.patches.pixelCount
    let blocks = (count + WinogradGroup.blockTiles - 1) / WinogradGroup.blockTiles
    for block in 0..<blocks {
      let first = count * block / blocks
      let end = count * (block + 1) / blocks
      stage(shard * count + first, end - first, range)
      let tileSums = TileSums(startFromZero: block == 0, joins: 0)
      if block + 1 < blocks {
        // Position by position: 32 columns of the block stay in L1 for all channels.
        for position in 0..<16 {
          visitTiles(range) { tile in multiply(end - first, position, tile, tile.sums, range, tileSums) }
        }
      } else {
        // Tile by tile: 16 KB of sums stay in L1 until they are transformed; those of a single block in one place.
        visitTiles(range) { tile in
          let sums = blocks == 1 ? products : tile.sums
          for position in 0..<16 { multiply(end - first, position, tile, sums, range, tileSums) }
          write(tile, sums, range, node)
        }
      }
    }
  }

  /// Visits tiles of 8 channels and 32 columns, channels first.
  @inline(__always)
  private func visitTiles(_ range: WinogradRange, _ body: (WinogradTile) -> Void) {
    for column in 0..<range.columnTiles {
      for row in 0..<range.channels / tileRows {
        let index = column * range.channels / tileRows + row
        body(
          WinogradTile(row: row, column: column, index: index, sums: products + index * 16 * WinogradGroup.tileFloats))
      }
    }
  }

  /// Transforms the range's part of `count` tiles.
  @inline(__always)
  private func stage(_ firstTile: Int, _ count: Int, _ range: WinogradRange) {
    for first in Swift.stride(from: 0, to: count, by: tileRows) {
      let group = min(tileRows, count - first)
      input.gather(
        tiles.patches, firstTap: 0, tapCount: 16, first: firstTile + first, total: firstTile + count, into: pointers)
      for tile in 0..<group { transformPatch(pointers + tile, first + tile, range) }
      gradientOutput.gather(
        tiles.targets, firstTap: 0, tapCount: 4, first: firstTile + first, total: firstTile + count, into: pointers)
      for tile in 0..<group { transformOutputs(pointers + tile, first + tile, range) }
    }
  }

  /// B^T d B of one tile.
  @inline(__always)
  private func transformPatch(_ pointers: UnsafePointer<UnsafeRawPointer>, _ tile: Int, _ range: WinogradRange) {
    for panel in 0..<range.channels / 16 {
      let place = rows + (panel * WinogradGroup.blockTiles + tile) * 16
      transformWinogradPatch(pointers, range.firstChannel + panel * 16, into: place, group.rowStride)
    }
  }

  /// A dy A^T of one tile.
  @inline(__always)
  private func transformOutputs(_ pointers: UnsafePointer<UnsafeRawPointer>, _ tile: Int, _ range: WinogradRange) {
    for panel in 0..<range.columns / 16 {
      let offset = (range.firstColumn + panel * 16) * 4
      @inline(__always)
      func pixel(_ j: Int) -> Floats { (pointers[j * tileRows] + offset).loadUnaligned(as: Floats.self) }
      let (a, b, c, d) = (pixel(0), pixel(1), pixel(2), pixel(3))
      let place = columns + (panel / 2 * WinogradGroup.blockTiles + tile) * 32 + panel % 2 * 16
      @inline(__always)
      func put(_ i: Int, _ left: Floats, _ right: Floats) {
        let place = place + i * 4 * group.columnStride
        store(left, place)
        store(left + right, place + group.columnStride)
        store(left - right, place + 2 * group.columnStride)
        store(-right, place + 3 * group.columnStride)
      }
      put(0, a, b)
      put(1, a + c, b + d)
      put(2, a - c, b - d)
      put(3, -c, -d)
    }
  }

  /// Adds a block's outer products to a tile's sums at one position.
  @inline(__always)
  private func multiply(
    _ count: Int, _ position: Int, _ tile: WinogradTile, _ sums: UnsafeMutablePointer<Float>, _ range: WinogradRange,
    _ tileSums: TileSums
  ) {
    let place =
      rows + position * group.rowStride + tile.row / 2 * WinogradGroup.blockTiles * 16 + tile.row % 2 * tileRows
    let gradient = GradientColumns(
      first: columns + position * group.columnStride + tile.column * WinogradGroup.blockTiles * 32, stride: 32)
    let sums = sums + position * WinogradGroup.tileFloats
    if range.columns - tile.column * 32 > 16 {
      addProducts32(count, place, gradient, sums, tileSums)
    } else {
      addProducts16(count, place, gradient, sums, tileSums)
    }
  }
}
