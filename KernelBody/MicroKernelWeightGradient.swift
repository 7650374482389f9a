// The inner loop of the weight gradient: 8 rows (channels of x) by 16 or 32 columns of dy in registers, over a block of
// pixels. Sums are loaded, extended by the block and stored again, which keeps one chain of additions per weight. Per
// pixel 2 loads, 8 broadcasts, 16 multiply-adds; register use as in MicroKernel.swift.

extension WeightGradient {
  /// tile[r, 0..<16] += sum over the block's pixels of x[channel + r] * dy[k], pixels ascending.
  @inline(__always)
  func multiply16(_ block: PixelBlock, _ channel: Int, _ tile: UnsafeMutablePointer<Float>) {
    #if AVX512
      var (c0, c1, c2, c3) = (load(tile), load(tile + 32), load(tile + 64), load(tile + 96))
      var (c4, c5, c6, c7) = (load(tile + 128), load(tile + 160), load(tile + 192), load(tile + 224))
      var gradient = block.gradient
      var pixel = 0
      repeat {
        let x = block.rows[pixel].assumingMemoryBound(to: Float.self) + channel
        let b = load(gradient)
        c0 = fma(Floats(repeating: x[0]), b, c0)
        c1 = fma(Floats(repeating: x[1]), b, c1)
        c2 = fma(Floats(repeating: x[2]), b, c2)
        c3 = fma(Floats(repeating: x[3]), b, c3)
        c4 = fma(Floats(repeating: x[4]), b, c4)
        c5 = fma(Floats(repeating: x[5]), b, c5)
        c6 = fma(Floats(repeating: x[6]), b, c6)
        c7 = fma(Floats(repeating: x[7]), b, c7)
        gradient += block.gradientStride
        pixel += 1
      } while pixel < block.count
      store(c0, tile)
      store(c1, tile + 32)
      store(c2, tile + 64)
      store(c3, tile + 96)
      store(c4, tile + 128)
      store(c5, tile + 160)
      store(c6, tile + 192)
      store(c7, tile + 224)
    #else
      multiplyHalf(block, channel, 0, tile)
      multiplyHalf(block, channel + 4, 0, tile + 128)
    #endif
  }

  /// `multiply16` for 32 columns.
  @inline(__always)
  func multiply32(_ block: PixelBlock, _ channel: Int, _ tile: UnsafeMutablePointer<Float>) {
    #if AVX512
      var (c0, c1, c2, c3) = (load(tile), load(tile + 32), load(tile + 64), load(tile + 96))
      var (c4, c5, c6, c7) = (load(tile + 128), load(tile + 160), load(tile + 192), load(tile + 224))
      var (d0, d1, d2, d3) = (load(tile + 16), load(tile + 48), load(tile + 80), load(tile + 112))
      var (d4, d5, d6, d7) = (load(tile + 144), load(tile + 176), load(tile + 208), load(tile + 240))
      var gradient = block.gradient
      var pixel = 0
      repeat {
        let x = block.rows[pixel].assumingMemoryBound(to: Float.self) + channel
        let (b, e) = (load(gradient), load(gradient + 16))
        var a = Floats(repeating: x[0])
        c0 = fma(a, b, c0)
        d0 = fma(a, e, d0)
        a = Floats(repeating: x[1])
        c1 = fma(a, b, c1)
        d1 = fma(a, e, d1)
        a = Floats(repeating: x[2])
        c2 = fma(a, b, c2)
        d2 = fma(a, e, d2)
        a = Floats(repeating: x[3])
        c3 = fma(a, b, c3)
        d3 = fma(a, e, d3)
        a = Floats(repeating: x[4])
        c4 = fma(a, b, c4)
        d4 = fma(a, e, d4)
        a = Floats(repeating: x[5])
        c5 = fma(a, b, c5)
        d5 = fma(a, e, d5)
        a = Floats(repeating: x[6])
        c6 = fma(a, b, c6)
        d6 = fma(a, e, d6)
        a = Floats(repeating: x[7])
        c7 = fma(a, b, c7)
        d7 = fma(a, e, d7)
        gradient += block.gradientStride
        pixel += 1
      } while pixel < block.count
      store(c0, tile)
      store(c1, tile + 32)
      store(c2, tile + 64)
      store(c3, tile + 96)
      store(c4, tile + 128)
      store(c5, tile + 160)
      store(c6, tile + 192)
      store(c7, tile + 224)
      store(d0, tile + 16)
      store(d1, tile + 48)
      store(d2, tile + 80)
      store(d3, tile + 112)
      store(d4, tile + 144)
      store(d5, tile + 176)
      store(d6, tile + 208)
      store(d7, tile + 240)
    #else
      multiplyHalf(block, channel, 0, tile)
      multiplyHalf(block, channel + 4, 0, tile + 128)
      multiplyHalf(block, channel, 16, tile + 16)
      multiplyHalf(block, channel + 4, 16, tile + 144)
    #endif
  }

  #if !AVX512
    /// Four rows of `multiply16`, with dy from column `offset`.
    @inline(__always)
    private func multiplyHalf(
      _ block: PixelBlock, _ channel: Int, _ offset: Int, _ tile: UnsafeMutablePointer<Float>
    ) {
      var (c0, c1, c2, c3) = (load(tile), load(tile + 32), load(tile + 64), load(tile + 96))
      var gradient = block.gradient + offset
      var pixel = 0
      repeat {
        let x = block.rows[pixel].assumingMemoryBound(to: Float.self) + channel
        let b = load(gradient)
        c0 = fma(Floats(repeating: x[0]), b, c0)
        c1 = fma(Floats(repeating: x[1]), b, c1)
        c2 = fma(Floats(repeating: x[2]), b, c2)
        c3 = fma(Floats(repeating: x[3]), b, c3)
        gradient += block.gradientStride
        pixel += 1
      } while pixel < block.count
      store(c0, tile)
      store(c1, tile + 32)
      store(c2, tile + 64)
      store(c3, tile + 96)
    }
  #endif
}
