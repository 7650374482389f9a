// How a shard's sums at the 16 positions become its gradient, and join those of other shards.

internal import KernelsInterface

/// Where a shard's gradient goes, and the nodes of the tree that it is joined with.
struct WinogradNode {
  /// [K/16][9][C][16] from the range's first column and channel, or nil for the entry `depth` of the stack.
  let result: UnsafeMutablePointer<Float>?
  /// The first of the `joins` entries that it is joined with, the last one first: node = left + right.
  let depth: Int
  let joins: Int
  /// As in `kept`.
  let halfScale: Float
}

extension WinogradWeightGradient {
  /// G^T m G of a tile's sums, joined with the nodes that wait.
  @inline(__always)
  func write(
    _ tile: WinogradTile, _ sums: UnsafeMutablePointer<Float>, _ range: WinogradRange, _ node: WinogradNode
  ) {
    let (c, k) = (tile.row * tileRows, tile.column * 32)
    let waiting = stack + node.depth * group.gradientCount + tile.index * 9 * WinogradGroup.tileFloats
    var (target, columnStride, channelStride, tapStride) = (waiting, 1, 32, WinogradGroup.tileFloats)
    if let result = node.result {
      let channels = plan.geometry.inputChannels
      (columnStride, channelStride, tapStride) = (9 * channels, 16, channels * 16)
      target = result + k * columnStride + c * channelStride
    }
    // Lane by lane: the 9 places that a channel's taps go to are often a multiple of 4 KB apart, and no cache takes twice as many.
    for lane in Swift.stride(from: 0, to: min(32, range.columns - k), by: 16) {
      for channel in 0..<tileRows {
        let m = sums + channel * 32 + lane
        @inline(__always)
        func line(_ j: Int) -> (Floats, Floats, Floats) {
          @inline(__always)
          func sum(_ i: Int) -> Floats { load(m + (i * 4 + j) * WinogradGroup.tileFloats) }
          let (m0, m1, m2, m3) = (sum(0), sum(1), sum(2), sum(3))
          let middle = (m1 + m2) * 0.5
          return (m0 + middle, (m1 - m2) * 0.5, middle + m3)
        }
        let (s0, s1, s2, s3) = (line(0), line(1), line(2), line(3))
        let target = target + lane * columnStride + channel * channelStride
        let waiting = waiting + channel * 32 + lane
        @inline(__always)
        func put(_ tap: Int, _ result: Floats) {
          var sum = kept(result, node.halfScale)
          for join in 0..<node.joins {
            let entry = waiting + tap * WinogradGroup.tileFloats + (node.joins - 1 - join) * group.gradientCount
            sum = kept(load(entry) + sum, node.halfScale)
          }
          store(sum, target + tap * tapStride)
        }
        @inline(__always)
        func putRow(_ i: Int, _ g0: Floats, _ g1: Floats, _ g2: Floats, _ g3: Floats) {
          let middle = (g1 + g2) * 0.5
          put(i * 3, g0 + middle)
          put(i * 3 + 1, (g1 - g2) * 0.5)
          put(i * 3 + 2, middle + g3)
        }
        putRow(0, s0.0, s1.0, s2.0, s3.0)
        putRow(1, s0.1, s1.1, s2.1, s3.1)
        putRow(2, s0.2, s1.2, s2.2, s3.2)
      }
    }
  }
}
