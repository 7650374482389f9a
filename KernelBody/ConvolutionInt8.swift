// Forward convolution of int8 by int8 with exact int32 sums.
//
// VNNI multiplies unsigned by signed bytes. Here the weights are the unsigned side, stored as weight + 128, and
// activations stay as they are, so one broadcast from memory feeds the instruction; sum (w + 128) x = sum w x + 128 sum
// x, and the sum of x over a pixel's taps is taken once per tile. Padding is then zero bytes. The other way round (x +
// 128, a correction per channel) would need an exclusive-or of every broadcast and padding rows of 128.
// Without VNNI: int16 pairs and their multiply-add. Saturating byte products (vpmaddubsw) would not be exact.

internal import CIntrinsics
package import KernelsInterface

/// The shape of one call, shared by its helpers.
///
/// Fewer than 4 channels would leave most of each group of 4 empty, so then taps and channels count as one run of T * C
/// channels (JoinedTaps).
struct Int8Product {
  /// Taps to run over, and where each one's weights are.
  let tapList: UnsafePointer<Int32>
  let taps: Int
  let channels: Int
  /// Bytes of one panel of 16 output channels.
  let panelBytes: Int
  /// How taps and channels become one run; nil where they do not.
  let joined: JoinedTaps?

  @inline(__always)
  init(_ geometry: ConvolutionGeometry, _ pixels: PixelClass) {
    joined = JoinedTaps(geometry)
    tapList = pixels.taps
    taps = joined == nil ? pixels.tapCount : 1
    channels = joined == nil ? geometry.inputChannels : geometry.taps * geometry.inputChannels
    panelBytes = (joined == nil ? geometry.taps : 1) * tapBytes(channels)
  }
}

/// Bytes of one tap of one panel: 4 channels (VNNI) or 2 (int16) by 16 outputs make 64 bytes.
@inline(__always)
func tapBytes(_ channels: Int) -> Int {
  #if VNNI
    (channels + 3) / 4 * 64
  #else
    (channels + 1) / 2 * 64
  #endif
}

extension Body {
  package static func int8ScratchCount(_ plan: ConvolutionPlan) -> Int {
    #if VNNI
      0
    #else
      plan.int8Tiles == nil ? 0 : WinogradInt8Block(channels: plan.geometry.inputChannels).scratchCount
    #endif
  }

  package static func packInt8Weights(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Int8>, into packed: UnsafeMutableRawPointer, part: Int,
    of parts: Int
  ) {
    let product = Int8Product(plan.geometry, plan.pixels)
    let (taps, channels, outputs) = (product.taps, product.channels, plan.geometry.outputChannels)
    let tapSize = tapBytes(channels)
    for panel in share((outputs + 15) / 16, part: part, of: parts) {
      let lanes = min(16, outputs - panel * 16)
      for tap in 0..<taps {
        let source = weights + taps * channels * panel * 16 + tap * channels * lanes
        let target = packed + (panel * taps + tap) * tapSize
        #if VNNI
          for c in stride(from: 0, to: channels, by: 4) {
            // Four rows of 16 bytes become 16 words of four; 0 where there is no channel, 128 where the weight is 0.
            var words = Integers.zero
            for index in 0..<min(4, channels - c) {
              let row = temper_widen_int8(load(source + (c + index) * lanes, lanes))
              words |=
                ((row ^ Integers(repeating: 128)) & Integers(repeating: 255)) &<< Integers(repeating: Int32(8 * index))
            }
            for lane in lanes..<16 { words[lane] = 0 }
            (target + c * 16).storeBytes(of: words, as: Integers.self)
          }
        #else
          for c in stride(from: 0, to: channels, by: 2) {
            let low = temper_widen_int8_to_int16(load(source + c * lanes, lanes))
            let isPair = c + 1 < channels
            let high = temper_widen_int8_to_int16(isPair ? load(source + (c + 1) * lanes, lanes) : .zero)
            (target + c * 32).storeBytes(of: temper_pair_int16(low, high), as: Integers.self)
          }
        #endif
      }
    }
  }

  package static func convolveInt8(
    _ plan: ConvolutionPlan, samples: Int, input: UnsafePointer<Int8>, packed: UnsafeRawPointer,
    scales: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    let g = plan.geometry
    #if !VNNI
      if let tiles = plan.int8Tiles {
        return WinogradInt8Product(
          plan: plan, table: tiles.pointee, input: input, packed: packed, scales: scales, bias: bias, output: output
        ).run(samples: samples, scratch: scratch, part: part, of: parts)
      }
    #endif
    let source = RowSource(base: input, sampleBytes: g.inputCount, elementShift: 0, zeros: plan.zeros)
    var sumStorage = InlineArray<512, Int32>(repeating: 0)
    var byteStorage = InlineArray<2048, Int64>(repeating: 0)
    withScratch { pointers, tile in
      withUnsafeMutableBytes(of: &sumStorage) { sums in
        withUnsafeMutableBytes(of: &byteStorage) { runs in
          let sums = sums.baseAddress!.assumingMemoryBound(to: Int32.self)
          let runs = runs.baseAddress!
          let tile = UnsafeMutableRawPointer(tile).assumingMemoryBound(to: Int32.self)
          let tiles = ClassTiles(classes: plan.forward, samples: samples)
          let writer = Int8Writer(outputs: g.outputChannels, scales: scales, bias: bias, output: output)
          let shares = TileShares(tileCount: tiles.count, channels: g.outputChannels, part: part, of: parts)
          let joinedTaps = JoinedTaps(g)
          let panelBytes = Int8Product(g, plan.pixels).panelBytes
          let limit = joinedTaps.map { min(64, 16384 / (tileRows * $0.stride)) } ?? 64
          shares.visitBlocks(
            of: source, tiles, sampleCount: g.outputCount, channels: g.outputChannels, pointers: pointers, limit: limit
          ) { pixelTile, rows in
            let product = Int8Product(g, pixelTile.pixels)
            if let joined = product.joined {
              let runs = runs + pixelTile.slot * tileRows * joined.stride
              for row in 0..<tileRows {
                joined.copy(0..<product.channels, rows, row: row, to: runs + row * joined.stride)
              }
              for row in 0..<tileRows { rows[row] = UnsafeRawPointer(runs + row * joined.stride) }
            }
            product.sumRows(rows, into: sums + pixelTile.slot * tileRows)
          } readAhead: { panel, panels, share, shares in
            readAhead(packed + panel * panelBytes, byteCount: panels * panelBytes, share: share, of: shares)
          } multiply: { pixelTile, panel, panels in
            let product = Int8Product(g, pixelTile.pixels)
            let weights = packed + panel * product.panelBytes
            product.multiply(pixelTile.rows, weights, wide: panels == 2, into: tile)
            writer.write(tile, sums + pixelTile.slot * tileRows, pixelTile, panel: panel, panels: panels)
          }
        }
      }
    }
  }
}

/// Scales tiles of sums and stores them.
private struct Int8Writer {
  let outputs: Int
  let scales: UnsafePointer<Float>
  let bias: UnsafePointer<Float>?
  let output: UnsafeMutablePointer<Float>

  /// Writes `panels` (1 or 2) times 16 channels of up to 8 pixels; `rowSums` holds what the unsigned weights added.
  @inline(__always)
  func write(
    _ tile: UnsafePointer<Int32>, _ rowSums: UnsafePointer<Int32>, _ pixelTile: PixelTile, panel: Int, panels: Int
  ) {
    for index in 0..<panels {
      let k = (panel + index) * 16
      let lanes = min(16, outputs - k)
      let scale = load(scales + k, lanes)
      let offset = bias.map { load($0 + k, lanes) }
      for row in 0..<min(tileRows, pixelTile.total - pixelTile.firstPixel) {
        let target = output + pixelTile.places[row] + k
        let sum = UnsafeRawPointer(tile + row * 32 + index * 16).loadUnaligned(as: Integers.self) &- rowSums[row]
        let result = offset.map { fma(temper_to_float(sum), scale, $0) } ?? temper_to_float(sum) * scale
        if lanes == 16 { store(result, target) } else { store(result, target, lanes) }
      }
    }
  }
}

extension Int8Product {
  #if VNNI
    /// 128 times the sum of all that each of 8 pixels reads.
    @inline(__always)
    func sumRows(_ rows: UnsafePointer<UnsafeRawPointer>, into sums: UnsafeMutablePointer<Int32>) {
      for row in 0..<tileRows {
        var wide = SIMD8<Int64>.zero
        var narrow = SIMD2<Int64>.zero
        var rest: Int32 = 0
        let ones = unsafeBitCast(SIMD64<UInt8>(repeating: 1), to: SIMD8<Int64>.self)
        for tap in 0..<taps {
          let bytes = rows[tap * tileRows + row]
          var c = 0
          while c + 64 <= channels {
            wide = temper_dot_u8s8(wide, ones, (bytes + c).loadUnaligned(as: SIMD8<Int64>.self))
            c += 64
          }
          while c + 16 <= channels {
            narrow = temper_dot_u8s8_128(narrow, ones.lowHalf.lowHalf, (bytes + c).loadUnaligned(as: SIMD2<Int64>.self))
            c += 16
          }
          while c < channels {
            rest &+= Int32(bytes.load(fromByteOffset: c, as: Int8.self))
            c += 1
          }
        }
        // Halves added by hand: `wrappedSum` is a generic function that levels would share.
        let quarters =
          unsafeBitCast(wide.lowHalf, to: SIMD8<Int32>.self) &+ unsafeBitCast(wide.highHalf, to: SIMD8<Int32>.self)
        let four = quarters.lowHalf &+ quarters.highHalf &+ unsafeBitCast(narrow, to: SIMD4<Int32>.self)
        sums[row] = (rest &+ four[0] &+ four[1] &+ four[2] &+ four[3]) &* 128
      }
    }
  #else
    /// Nothing to correct: weights are signed here.
    @inline(__always)
    func sumRows(_ rows: UnsafePointer<UnsafeRawPointer>, into sums: UnsafeMutablePointer<Int32>) {}
  #endif
}
