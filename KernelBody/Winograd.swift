// 3x3 convolutions with stride 1 by Winograd's F(2x2, 3x3): 16 multiplications for 4 pixels instead of 36.
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308:
//
//   Y = A^T [ (G g G^T) * (B^T d B) ] A        d: 4x4 source pixels, Y: 2x2 target pixels
//
//   B^T = 1  0 -1  0     G = 1    0   0      A^T = 1  1  1  0
//         0  1  1  0         1/2  1/2 1/2          0  1 -1 -1
//         0 -1  1  0         1/2 -1/2 1/2
//         0  1  0 -1         0    0   1
//
// The product in the middle is 16 matrix products over channels, one for each position of the patch, by the micro-kernel of
// the direct convolution: 8 tiles take the place of 8 pixels. Sums of channels are shorter (no taps), values before them are
// sums of four, so the error is about that of the direct convolution; the tests hold both to the same bound.
// Weights come packed as for the direct convolution and are transformed when their panel's turn comes, into the second-level
// cache: transformed beforehand they would be 16/9 of the memory to write and read.
// F(4x4, 3x3) would save another half, with constants up to 8 and 10 times the error. Not taken.

internal import CIntrinsics
internal import KernelsInterface

/// Tiles of 2x2 target pixels worked on together, in groups of 8, and their memory.
private struct WinogradBlock {
  let groups: Int
  /// Floats from one tile's channels to the next.
  let stride: Int
  /// [groups][16][8][stride] transformed patches.
  let patches: UnsafeMutablePointer<Float>
  /// [groups][16][8][32] products.
  let products: UnsafeMutablePointer<Float>
  /// [2][16][weightStride] transformed weights of one or two panels.
  let weights: UnsafeMutablePointer<Float>
  let weightStride: Int

  init(channels: Int, scratch: UnsafeMutablePointer<Float>) {
    groups = ConvolutionPlan.winogradGroups(channels: channels)
    stride = ConvolutionPlan.winogradStride(channels: channels)
    patches = scratch
    products = patches + groups * 128 * stride
    weights = products + groups * 4096
    weightStride = ConvolutionPlan.winogradWeightStride(channels: channels)
  }
}

/// A product over the source's channels of every tile.
struct WinogradProduct {
  let plan: ConvolutionPlan
  let table: WinogradTable
  let source: UnsafePointer<Float>
  let sourceCount: Int
  /// Turned for the input gradient: its sources are output channels, and taps run from the last to the first.
  let weights: WeightPanels
  let bias: UnsafePointer<Float>?
  let target: UnsafeMutablePointer<Float>
  let accumulate: Bool

  @inline(__always)
  private var sourceChannels: Int { weights.sourceChannels }
  @inline(__always)
  private var targetChannels: Int { weights.targetChannels }

  /// Computes this part's tiles and channels of `samples` samples.
  func run(samples: Int, scratch: UnsafeMutablePointer<Float>, part: Int, of parts: Int) {
    let block = WinogradBlock(channels: sourceChannels, scratch: scratch)
    let total = samples * table.patches.pixelCount
    let rows = RowSource(base: source, sampleBytes: sourceCount * 4, elementShift: 2, zeros: plan.zeros)
    let shares = TileShares(
      tileCount: (total + tileRows - 1) / tileRows, channels: targetChannels, part: part, of: parts)
    withScratch { pointers, _ in
      shares.visitPatches(of: rows, table, total: total, groups: block.groups, pointers: pointers) { pointers, group in
        let patches = block.patches + group * 128 * block.stride
        for tile in 0..<tileRows {
          for channel in Swift.stride(from: 0, to: sourceChannels, by: 16) {
            let place = patches + tile * block.stride + channel
            transformWinogradPatch(pointers + tile, channel, into: place, tileRows * block.stride)
          }
        }
        for row in 0..<128 { pointers[row] = UnsafeRawPointer(patches + row * block.stride) }
      } multiply: { panel, panels, next, first, count in
        for index in 0..<panels { transformPanel(panel + index, block, index) }
        multiply(pointers, count, panels, block, next: next)
        for group in 0..<count {
          write(block.products + group * 4096, firstTile: (first + group) * tileRows, total: total, panel, panels)
        }
      }
    }
  }

  /// G g G^T of a panel's weights.
  @inline(__always)
  private func transformPanel(_ panel: Int, _ block: WinogradBlock, _ index: Int) {
    let positions = block.weights + index * 16 * block.weightStride
    guard weights.areTurned else {
      let tapStride = sourceChannels * 16
      let first = weights.packed + panel * weights.panelStride
      for channel in 0..<sourceChannels {
        transformWinogradWeights(first + channel * 16, tapStride, into: positions + channel * 16, block.weightStride)
      }
      return
    }
    // Blocks of 16 x 16 weights lie together; turned, their lanes are input channels.
    var storage = InlineArray<2304, Float>(repeating: 0)
    withUnsafeMutableBytes(of: &storage) { storage in
      let turned = storage.baseAddress!.assumingMemoryBound(to: Float.self)
      for sourcePanel in 0..<sourceChannels / 16 {
        for tap in 0..<9 {
          temper_transpose(weights.block(source: sourcePanel, tap: 8 - tap, panel: panel), 16, turned + tap * 256)
        }
        for k in 0..<16 {
          transformWinogradWeights(
            turned + k * 16, 256, into: positions + (sourcePanel * 16 + k) * 16, block.weightStride)
        }
      }
    }
  }

  /// The 16 products of `count` groups, position by position, so that a position's weights stay in cache for all groups; reads
  /// the `next` panels meanwhile.
  @inline(__always)
  private func multiply(
    _ pointers: UnsafePointer<UnsafeRawPointer>, _ count: Int, _ panels: Int, _ block: WinogradBlock, next: Range<Int>
  ) {
    let kernel = MicroKernel(
      taps: table.patches.taps, tapCount: 1, depth: sourceChannels, panelStride: 16 * block.weightStride)
    for position in 0..<16 {
      if !next.isEmpty { weights.readPanelsAhead(next.lowerBound, next.count, share: position, of: 16) }
      let weights = UnsafePointer(block.weights + position * block.weightStride)
      for group in 0..<count {
        let rows = pointers + group * 128 + position * tileRows
        let product = block.products + (group * 16 + position) * 256
        if panels == 2 {
          kernel.run32(rows, weights, product, stride: 32)
        } else {
          kernel.run16(rows, weights, product, stride: 32)
        }
      }
    }
  }

  /// A^T m A of 8 tiles, into the pixels that the image has.
  @inline(__always)
  private func write(
    _ products: UnsafePointer<Float>, firstTile: Int, total: Int, _ panel: Int, _ panels: Int
  ) {
    table.visitTiles(firstTile, total: total) { row, pixel, isWide, isHigh in
      for index in 0..<panels {
        let channel = (panel + index) * 16
        let m = products + row * 32 + index * 16
        @inline(__always)
        func column(_ j: Int) -> (Floats, Floats) {
          let (m0, m1) = (load(m + j * 256), load(m + (4 + j) * 256))
          let (m2, m3) = (load(m + (8 + j) * 256), load(m + (12 + j) * 256))
          return (m0 + m1 + m2, m1 - m2 - m3)
        }
        let (s0, s1, s2, s3) = (column(0), column(1), column(2), column(3))
        let first = target + pixel * targetChannels + channel
        put(s0.0 + s1.0 + s2.0, first, channel)
        if isWide { put(s1.0 - s2.0 - s3.0, first + targetChannels, channel) }
        let below = first + table.width * targetChannels
        if isHigh { put(s0.1 + s1.1 + s2.1, below, channel) }
        if isWide && isHigh { put(s1.1 - s2.1 - s3.1, below + targetChannels, channel) }
      }
    }
  }

  @inline(__always)
  private func put(_ result: Floats, _ output: UnsafeMutablePointer<Float>, _ channel: Int) {
    var sum = result
    if let bias { sum += load(bias + channel) }
    if accumulate { sum = load(output) + sum }
    store(sum, output)
  }
}

/// B^T d B of 16 channels of one tile: pixels from `pointers`, 8 apart, to 16 positions `positionStride` floats apart.
@inline(__always)
func transformWinogradPatch(
  _ pointers: UnsafePointer<UnsafeRawPointer>, _ channel: Int, into positions: UnsafeMutablePointer<Float>,
  _ positionStride: Int
) {
  @inline(__always)
  func row(_ i: Int) -> (Floats, Floats, Floats, Floats) {
    @inline(__always)
    func pixel(_ j: Int) -> Floats { (pointers[(i * 4 + j) * tileRows] + channel * 4).loadUnaligned(as: Floats.self) }
    return (pixel(0), pixel(1), pixel(2), pixel(3))
  }
  let (d0, d1, d2, d3) = (row(0), row(1), row(2), row(3))
  @inline(__always)
  func put(_ i: Int, _ t0: Floats, _ t1: Floats, _ t2: Floats, _ t3: Floats) {
    let place = positions + i * 4 * positionStride
    store(t0 - t2, place)
    store(t1 + t2, place + positionStride)
    store(t2 - t1, place + 2 * positionStride)
    store(t1 - t3, place + 3 * positionStride)
  }
  put(0, d0.0 - d2.0, d0.1 - d2.1, d0.2 - d2.2, d0.3 - d2.3)
  put(1, d1.0 + d2.0, d1.1 + d2.1, d1.2 + d2.2, d1.3 + d2.3)
  put(2, d2.0 - d1.0, d2.1 - d1.1, d2.2 - d1.2, d2.3 - d1.3)
  put(3, d1.0 - d3.0, d1.1 - d3.1, d1.2 - d3.2, d1.3 - d3.3)
}

/// G g G^T of 16 lanes: nine taps `stride` floats apart to 16 positions `positionStride` floats apart.
@inline(__always)
func transformWinogradWeights(
  _ taps: UnsafePointer<Float>, _ stride: Int, into positions: UnsafeMutablePointer<Float>, _ positionStride: Int
) {
  @inline(__always)
  func column(_ j: Int) -> (Floats, Floats, Floats, Floats) {
    let (g0, g1, g2) = (load(taps + j * stride), load(taps + (3 + j) * stride), load(taps + (6 + j) * stride))
    let ends = g0 + g2
    return (g0, (ends + g1) * 0.5, (ends - g1) * 0.5, g2)
  }
  let (a, b, c) = (column(0), column(1), column(2))
  @inline(__always)
  func put(_ i: Int, _ g0: Floats, _ g1: Floats, _ g2: Floats) {
    let place = positions + i * 4 * positionStride
    let ends = g0 + g2
    store(g0, place)
    store((ends + g1) * 0.5, place + positionStride)
    store((ends - g1) * 0.5, place + 2 * positionStride)
    store(g2, place + 3 * positionStride)
  }
  put(0, a.0, b.0, c.0)
  put(1, a.1, b.1, c.1)
  put(2, a.2, b.2, c.2)
  put(3, a.3, b.3, c.3)
}
