// Forward convolution of int8 by int8 with exact int32 sums.
//
// VNNI multiplies unsigned by signed bytes. Here the weights are the unsigned side, stored as weight + 128, and activations stay as
// they are, so one broadcast from memory feeds the instruction; sum (w + 128) x = sum w x + 128 sum x, and the
// sum of x over a pixel's taps is taken once per tile. Padding is then zero bytes. The other way round (x + 128, a correction
// per channel) would need an exclusive-or of every broadcast and padding rows of 128.
// Without VNNI: int16 pairs and their multiply-add. Saturating byte products (vpmaddubsw) would not be exact.

internal import CIntrinsics
package import KernelsInterface

/// The shape of one call, shared by its helpers.
struct Int8Product {
  let pixels: PixelClass
  let taps: Int
  let channels: Int
  let outputs: Int
  /// Pixels of all samples.
  let total: Int
  let packed: UnsafeRawPointer
  /// Bytes of one panel of 16 output channels.
  let panelBytes: Int
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

/// Exact conversion of any int32, rounded once: the halves are exact, and the multiply-add rounds their sum.
@inline(__always)
private func real(_ sum: Integers) -> Floats {
  fma(floats(sum &>> 12), Floats(repeating: 4096), floats(sum & 4095))
}

extension Body {
  package static func packInt8Weights(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Int8>, into packed: UnsafeMutableRawPointer, part: Int,
    of parts: Int
  ) {
    let (taps, channels, outputs) = (plan.geometry.taps, plan.geometry.inputChannels, plan.geometry.outputChannels)
    let tapSize = tapBytes(channels)
    for panel in share((outputs + 15) / 16, part: part, of: parts) {
      for tap in 0..<taps {
        let source = weights + tap * channels * outputs + panel * 16
        let target = packed + (panel * taps + tap) * tapSize
        let lanes = min(16, outputs - panel * 16)
        #if VNNI
          let bytes = target.assumingMemoryBound(to: UInt8.self)
          for c in 0..<((channels + 3) / 4 * 4) {
            for lane in 0..<16 {
              let real = c < channels && lane < lanes
              bytes[c / 4 * 64 + lane * 4 + c % 4] =
                real ? UInt8(bitPattern: source[c * outputs + lane]) ^ 0x80 : 0
            }
          }
        #else
          let words = target.assumingMemoryBound(to: Int16.self)
          for c in 0..<((channels + 1) / 2 * 2) {
            for lane in 0..<16 {
              let real = c < channels && lane < lanes
              words[c / 2 * 32 + lane * 2 + c % 2] = real ? Int16(source[c * outputs + lane]) : 0
            }
          }
        #endif
      }
    }
  }

  package static func convolveInt8(
    _ plan: ConvolutionPlan, samples: Int, input: UnsafePointer<Int8>, packed: UnsafeRawPointer,
    scales: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    let g = plan.geometry
    let source = RowSource(base: input, sampleBytes: g.inputCount, elementShift: 0, zeros: plan.zeros)
    let product = Int8Product(
      pixels: plan.forward, taps: g.taps, channels: g.inputChannels, outputs: g.outputChannels,
      total: samples * plan.forward.pixelCount, packed: packed, panelBytes: g.taps * tapBytes(g.inputChannels))
    let shares = TileShares(pixels: product.total, channels: g.outputChannels, part: part, of: parts)
    let pointersPerTile = g.taps * tileRows
    let blockTiles = min(64, 2048 / pointersPerTile)
    var sumStorage = InlineArray<512, Int32>(repeating: 0)
    withScratch { pointers, tile in
      withUnsafeMutableBytes(of: &sumStorage) { sums in
        let sums = sums.baseAddress!.assumingMemoryBound(to: Int32.self)
        let tile = UnsafeMutableRawPointer(tile).assumingMemoryBound(to: Int32.self)
        var block = shares.tiles.lowerBound
        while block < shares.tiles.upperBound {
          let blockEnd = min(block + blockTiles, shares.tiles.upperBound)
          for index in block..<blockEnd {
            let rows = pointers + (index - block) * pointersPerTile
            source.gather(
              plan.forward, firstTap: 0, tapCount: g.taps, first: index * tileRows, total: product.total, into: rows)
            product.sumRows(rows, into: sums + (index - block) * tileRows)
          }
          for panel in stride(from: shares.panels.lowerBound, to: shares.panels.upperBound, by: 2) {
            let wide = panel + 1 < shares.panels.upperBound
            for index in block..<blockEnd {
              product.multiply(pointers + (index - block) * pointersPerTile, panel: panel, wide: wide, into: tile)
              product.write(
                tile, sums + (index - block) * tileRows, firstPixel: index * tileRows, panel: panel,
                panels: wide ? 2 : 1, scales, bias, output)
            }
          }
          block = blockEnd
        }
      }
    }
  }
}

extension Int8Product {
  /// Scales 8 rows of sums and stores them; `rowSums` holds what the unsigned weights added.
  @inline(__always)
  func write(
    _ tile: UnsafePointer<Int32>, _ rowSums: UnsafePointer<Int32>, firstPixel: Int, panel: Int, panels: Int,
    _ scales: UnsafePointer<Float>, _ bias: UnsafePointer<Float>?, _ output: UnsafeMutablePointer<Float>
  ) {
    for index in 0..<panels {
      let k = (panel + index) * 16
      let lanes = min(16, outputs - k)
      let scale = load(scales + k, lanes)
      let offset = bias.map { load($0 + k, lanes) }
      let target = output + firstPixel * outputs + k
      for row in 0..<min(tileRows, total - firstPixel) {
        let sum = UnsafeRawPointer(tile + row * 32 + index * 16).loadUnaligned(as: Integers.self) &- rowSums[row]
        let result = offset.map { fma(real(sum), scale, $0) } ?? real(sum) * scale
        if lanes == 16 { store(result, target + row * outputs) } else { store(result, target + row * outputs, lanes) }
      }
    }
  }

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
        rest &+= unsafeBitCast(narrow, to: SIMD4<Int32>.self).wrappedSum()
        if channels >= 64 { rest &+= unsafeBitCast(wide, to: Integers.self).wrappedSum() }
        sums[row] = rest &* 128
      }
    }
  #else
    /// Nothing to correct: weights are signed here.
    @inline(__always)
    func sumRows(_ rows: UnsafePointer<UnsafeRawPointer>, into sums: UnsafeMutablePointer<Int32>) {}
  #endif
}
