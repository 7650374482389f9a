// The int8 product of 3x3 kernels with stride 1 by Winograd's F(2x2, 3x3) in integers, where there is no VNNI instruction.
// Winograd.swift has the algorithm and its source. With 2 G in place of G everything is an integer:
//
//   4 Y = A^T [ (2G g (2G)^T) * (B^T d B) ] A      |2G g (2G)^T| <= 9 * 128, |B^T d B| <= 4 * 128: both are int16
//
// Products of pairs of int16 are added in int32, which wraps around. So do the sums of A^T m A; but 4 Y fits, and arithmetic modulo
// 2^32 then leaves 4 Y exactly. Its quarter is the integer that the direct product has, bit for bit.
// 16 multiplications for 4 pixels instead of 36. VNNI multiplies int8 at twice the speed of int16, which this only just makes
// up for: there the direct product stays.

#if !VNNI
  internal import CIntrinsics
  internal import KernelsInterface

  /// Tiles worked on together, and how their memory is laid out.
  struct WinogradInt8Block {
    let channels: Int
    let groups: Int

    init(channels: Int) {
      self.channels = channels
      groups = ConvolutionPlan.winogradGroups(channels: channels)
    }

    /// Int16s from one tile's channels to the next; off the powers of two, where cache lines would collide.
    var stride: Int { channels + 32 }
    /// Words (pairs of int16) between the transformed weights of two positions; off the powers of two as well.
    var weightStride: Int { channels * 8 + 16 }
    /// Words of patches [groups][16][8][stride / 2], products [groups][16][8][32] and weights [2][16][weightStride].
    var patchCount: Int { groups * 64 * stride }
    var productCount: Int { groups * 4096 }
    var scratchCount: Int { patchCount + productCount + 32 * weightStride }
  }

  /// A product over the input's channels of every tile.
  struct WinogradInt8Product {
    let plan: ConvolutionPlan
    let table: WinogradTable
    let input: UnsafePointer<Int8>
    /// [K/16][9][C/2][16][2] int16, from `packInt8Weights`.
    let packed: UnsafeRawPointer
    let scales: UnsafePointer<Float>
    let bias: UnsafePointer<Float>?
    let output: UnsafeMutablePointer<Float>

    /// Computes this part's tiles and channels of `samples` samples.
    func run(samples: Int, scratch: UnsafeMutablePointer<Float>, part: Int, of parts: Int) {
      let g = plan.geometry
      let block = WinogradInt8Block(channels: g.inputChannels)
      let patches = UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: Int16.self)
      let products = UnsafeMutableRawPointer(scratch + block.patchCount).assumingMemoryBound(to: Int32.self)
      let weights = products + block.productCount
      let total = samples * table.patches.pixelCount
      let source = RowSource(base: input, sampleBytes: g.inputCount, elementShift: 0, zeros: plan.zeros)
      let shares = TileShares(
        tileCount: (total + tileRows - 1) / tileRows, channels: g.outputChannels, part: part, of: parts)
      let panelBytes = 9 * tapBytes(g.inputChannels)
      let kernel = MicroKernelInt16(
        taps: table.patches.taps, tapCount: 1, pairs: g.inputChannels / 2, panelStride: 16 * block.weightStride)
      withScratch { pointers, _ in
        shares.visitPatches(of: source, table, total: total, groups: block.groups, pointers: pointers) {
          pointers, group in
          let patches = patches + group * 128 * block.stride
          for tile in 0..<tileRows {
            for channel in stride(from: 0, to: g.inputChannels, by: 16) {
              let place = patches + tile * block.stride + channel
              transformPatch(pointers + tile, channel, into: place, tileRows * block.stride)
            }
          }
          for row in 0..<128 { pointers[row] = UnsafeRawPointer(patches + row * block.stride) }
        } multiply: { panel, panels, next, first, count in
          for index in 0..<panels {
            transformPanel(panel + index, into: weights + index * 16 * block.weightStride, block.weightStride)
          }
          // Position by position, so that a position's weights stay in the first-level cache for all groups.
          for position in 0..<16 {
            readAhead(
              packed + next.lowerBound * panelBytes, byteCount: next.count * panelBytes, share: position, of: 16)
            for group in 0..<count {
              let rows = UnsafePointer(pointers + group * 128 + position * tileRows)
              let product = products + (group * 16 + position) * 256
              let weights = UnsafePointer(weights + position * block.weightStride)
              if panels == 2 { kernel.run32(rows, weights, product) } else { kernel.run16(rows, weights, product) }
            }
          }
          for group in 0..<count {
            write(products + group * 4096, firstTile: (first + group) * tileRows, total: total, panel, panels)
          }
        }
      }
    }

    /// 2G g (2G)^T of a panel: 16 positions, `stride` words apart, of [C/2][16] pairs.
    @inline(__always)
    private func transformPanel(_ panel: Int, into positions: UnsafeMutablePointer<Int32>, _ stride: Int) {
      let tapCount = plan.geometry.inputChannels * 16
      let taps = packed.assumingMemoryBound(to: Int16.self) + panel * 9 * tapCount
      let target = UnsafeMutableRawPointer(positions).assumingMemoryBound(to: Int16.self)
      for index in Swift.stride(from: 0, to: tapCount, by: 16) {
        @inline(__always)
        func column(_ j: Int) -> (SIMD16<Int16>, SIMD16<Int16>, SIMD16<Int16>, SIMD16<Int16>) {
          let tap = taps + j * tapCount + index
          let (g0, g1, g2) = (load(tap, 16), load(tap + 3 * tapCount, 16), load(tap + 6 * tapCount, 16))
          let ends = g0 &+ g2
          return (g0 &+ g0, ends &+ g1, ends &- g1, g2 &+ g2)
        }
        let (a, b, c) = (column(0), column(1), column(2))
        @inline(__always)
        func put(_ i: Int, _ g0: SIMD16<Int16>, _ g1: SIMD16<Int16>, _ g2: SIMD16<Int16>) {
          let place = target + i * 8 * stride + index
          let ends = g0 &+ g2
          store(g0 &+ g0, place, 16)
          store(ends &+ g1, place + 2 * stride, 16)
          store(ends &- g1, place + 4 * stride, 16)
          store(g2 &+ g2, place + 6 * stride, 16)
        }
        put(0, a.0, b.0, c.0)
        put(1, a.1, b.1, c.1)
        put(2, a.2, b.2, c.2)
        put(3, a.3, b.3, c.3)
      }
    }

    /// B^T d B of 16 channels of one tile: pixels from `pointers`, 8 apart, to 16 positions `positionStride` int16s apart.
    @inline(__always)
    private func transformPatch(
      _ pointers: UnsafePointer<UnsafeRawPointer>, _ channel: Int, into positions: UnsafeMutablePointer<Int16>,
      _ positionStride: Int
    ) {
      @inline(__always)
      func pixel(_ index: Int) -> SIMD16<Int16> {
        temper_widen_int8_to_int16((pointers[index * tileRows] + channel).loadUnaligned(as: SIMD16<Int8>.self))
      }
      /// A row of B^T d: first row, second row, and whether they are added.
      @inline(__always)
      func put(_ i: Int, _ term: (_ j: Int) -> SIMD16<Int16>) {
        let (t0, t1, t2, t3) = (term(0), term(1), term(2), term(3))
        let place = positions + i * 4 * positionStride
        store(t0 &- t2, place, 16)
        store(t1 &+ t2, place + positionStride, 16)
        store(t2 &- t1, place + 2 * positionStride, 16)
        store(t1 &- t3, place + 3 * positionStride, 16)
      }
      put(0) { pixel($0) &- pixel(8 + $0) }
      put(1) { pixel(4 + $0) &+ pixel(8 + $0) }
      put(2) { pixel(8 + $0) &- pixel(4 + $0) }
      put(3) { pixel(4 + $0) &- pixel(12 + $0) }
    }

    /// A quarter of A^T m A of 8 tiles, scaled, into the pixels that the image has.
    @inline(__always)
    private func write(
      _ products: UnsafePointer<Int32>, firstTile: Int, total: Int, _ panel: Int, _ panels: Int
    ) {
      let outputs = plan.geometry.outputChannels
      for index in 0..<panels {
        let channel = (panel + index) * 16
        let scale = load(scales + channel)
        let offset = bias.map { load($0 + channel) }
        @inline(__always)
        func put(_ sum: Integers, _ target: UnsafeMutablePointer<Float>) {
          let real = temper_to_float(sum &>> Integers(repeating: 2))
          store(offset.map { fma(real, scale, $0) } ?? real * scale, target)
        }
        table.visitTiles(firstTile, total: total) { row, pixel, isWide, isHigh in
          let m = products + row * 32 + index * 16
          @inline(__always)
          func column(_ j: Int) -> (Integers, Integers) {
            let (m0, m1) = (loadWords(m + j * 256), loadWords(m + (4 + j) * 256))
            let (m2, m3) = (loadWords(m + (8 + j) * 256), loadWords(m + (12 + j) * 256))
            return (m0 &+ m1 &+ m2, m1 &- m2 &- m3)
          }
          let (s0, s1, s2, s3) = (column(0), column(1), column(2), column(3))
          let first = output + pixel * outputs + channel
          put(s0.0 &+ s1.0 &+ s2.0, first)
          if isWide { put(s1.0 &- s2.0 &- s3.0, first + outputs) }
          let below = first + table.width * outputs
          if isHigh { put(s0.1 &+ s1.1 &+ s2.1, below) }
          if isWide && isHigh { put(s1.1 &- s2.1 &- s3.1, below + outputs) }
        }
      }
    }
  }
#endif
