// The inner loops of the forward and input-gradient products: 8 pixels by 16 or 32 output channels in registers.
//
// AVX-512: 8 x 2 accumulators of 16 lanes; per step 2 loads, 8 broadcasts and 16 multiply-adds, so the two load ports
// keep up with the two multiply-add ports (90-99 % of peak measured on Emerald Rapids). Not taken: 8 x 48, twice the
// code for at most those percents; 6 x 64, which streams twice the weights from L2.
// AVX2 has 16 registers of 8 lanes: 4 x 16 twice over, 8 accumulators, which just covers the latency of the
// multiply-add (80 % of peak).
// Order of additions per output: taps as listed, then channels ascending, one chain from zero. All shapes share it.

/// What all micro-kernels of one product have in common.
struct MicroKernel {
  /// Taps to run over, and where each one's weights are.
  let taps: UnsafePointer<Int32>
  let tapCount: Int
  /// Channels of the source, D.
  let depth: Int
  /// Floats from one panel of 16 output channels to the next.
  let panelStride: Int
}

extension MicroKernel {
  /// tile[r * stride + n] = sum over taps t and channels d of rows[t * 8 + r][d] * panel[t][d][n], for 8 rows and 16
  /// outputs.
  @inline(__always)
  func run16(
    _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafePointer<Float>, _ tile: UnsafeMutablePointer<Float>,
    stride: Int
  ) {
    #if AVX512
      var (c0, c1, c2, c3) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
      var (c4, c5, c6, c7) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
      var tap = 0
      while tap < tapCount {
        let row = UnsafeRawPointer(rows + tap * tileRows).assumingMemoryBound(to: UnsafePointer<Float>.self)
        let (a0, a1, a2, a3, a4, a5, a6, a7) = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
        var weights = panel + Int(taps[tap]) * depth * 16
        var d = 0
        repeat {
          let b = load(weights)
          c0 = fma(Floats(repeating: a0[d]), b, c0)
          c1 = fma(Floats(repeating: a1[d]), b, c1)
          c2 = fma(Floats(repeating: a2[d]), b, c2)
          c3 = fma(Floats(repeating: a3[d]), b, c3)
          c4 = fma(Floats(repeating: a4[d]), b, c4)
          c5 = fma(Floats(repeating: a5[d]), b, c5)
          c6 = fma(Floats(repeating: a6[d]), b, c6)
          c7 = fma(Floats(repeating: a7[d]), b, c7)
          weights += 16
          d += 1
        } while d < depth
        tap += 1
      }
      store(c0, tile)
      store(c1, tile + stride)
      store(c2, tile + 2 * stride)
      store(c3, tile + 3 * stride)
      store(c4, tile + 4 * stride)
      store(c5, tile + 5 * stride)
      store(c6, tile + 6 * stride)
      store(c7, tile + 7 * stride)
    #else
      half16(rows, panel, tile, stride: stride)
      half16(rows + 4, panel, tile + 4 * stride, stride: stride)
    #endif
  }

  /// `run16` for 32 outputs: this panel and the next.
  @inline(__always)
  func run32(
    _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafePointer<Float>, _ tile: UnsafeMutablePointer<Float>,
    stride: Int
  ) {
    #if AVX512
      var (c0, c1, c2, c3) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
      var (c4, c5, c6, c7) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
      var (d0, d1, d2, d3) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
      var (d4, d5, d6, d7) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
      var tap = 0
      while tap < tapCount {
        let row = UnsafeRawPointer(rows + tap * tileRows).assumingMemoryBound(to: UnsafePointer<Float>.self)
        let (a0, a1, a2, a3, a4, a5, a6, a7) = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
        var weights = panel + Int(taps[tap]) * depth * 16
        var d = 0
        repeat {
          let (b, e) = (load(weights), load(weights + panelStride))
          var a = Floats(repeating: a0[d])
          c0 = fma(a, b, c0)
          d0 = fma(a, e, d0)
          a = Floats(repeating: a1[d])
          c1 = fma(a, b, c1)
          d1 = fma(a, e, d1)
          a = Floats(repeating: a2[d])
          c2 = fma(a, b, c2)
          d2 = fma(a, e, d2)
          a = Floats(repeating: a3[d])
          c3 = fma(a, b, c3)
          d3 = fma(a, e, d3)
          a = Floats(repeating: a4[d])
          c4 = fma(a, b, c4)
          d4 = fma(a, e, d4)
          a = Floats(repeating: a5[d])
          c5 = fma(a, b, c5)
          d5 = fma(a, e, d5)
          a = Floats(repeating: a6[d])
          c6 = fma(a, b, c6)
          d6 = fma(a, e, d6)
          a = Floats(repeating: a7[d])
          c7 = fma(a, b, c7)
          d7 = fma(a, e, d7)
          weights += 16
          d += 1
        } while d < depth
        tap += 1
      }
      store(c0, tile)
      store(c1, tile + stride)
      store(c2, tile + 2 * stride)
      store(c3, tile + 3 * stride)
      store(c4, tile + 4 * stride)
      store(c5, tile + 5 * stride)
      store(c6, tile + 6 * stride)
      store(c7, tile + 7 * stride)
      store(d0, tile + 16)
      store(d1, tile + stride + 16)
      store(d2, tile + 2 * stride + 16)
      store(d3, tile + 3 * stride + 16)
      store(d4, tile + 4 * stride + 16)
      store(d5, tile + 5 * stride + 16)
      store(d6, tile + 6 * stride + 16)
      store(d7, tile + 7 * stride + 16)
    #else
      run16(rows, panel, tile, stride: stride)
      run16(rows, panel + panelStride, tile + 16, stride: stride)
    #endif
  }

  #if !AVX512
    /// Four rows of `run16`.
    @inline(__always)
    private func half16(
      _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafePointer<Float>, _ tile: UnsafeMutablePointer<Float>,
      stride: Int
    ) {
      var (c0, c1, c2, c3) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
      var tap = 0
      while tap < tapCount {
        let row = UnsafeRawPointer(rows + tap * tileRows).assumingMemoryBound(to: UnsafePointer<Float>.self)
        let (a0, a1, a2, a3) = (row[0], row[1], row[2], row[3])
        var weights = panel + Int(taps[tap]) * depth * 16
        var d = 0
        repeat {
          let b = load(weights)
          c0 = fma(Floats(repeating: a0[d]), b, c0)
          c1 = fma(Floats(repeating: a1[d]), b, c1)
          c2 = fma(Floats(repeating: a2[d]), b, c2)
          c3 = fma(Floats(repeating: a3[d]), b, c3)
          weights += 16
          d += 1
        } while d < depth
        tap += 1
      }
      store(c0, tile)
      store(c1, tile + stride)
      store(c2, tile + 2 * stride)
      store(c3, tile + 3 * stride)
    }
  #endif
}
