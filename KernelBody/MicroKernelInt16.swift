// The inner loops of the int16 input gradient: 8 pixels by 16 or 32 channels, two output channels per instruction.
// Register use as in MicroKernel.swift; per pair of channels 2 loads, 8 broadcasts and 16 dot products. Sums are exact, so
// their order is of no account.

internal import CIntrinsics

/// What all micro-kernels of one product have in common.
struct MicroKernelInt16 {
  /// Taps to run over, and where each one's weights are.
  let taps: UnsafePointer<Int32>
  let tapCount: Int
  /// Pairs of source channels, K / 2.
  let pairs: Int
  /// Words (pairs of int16) from one panel of 16 channels to the next.
  let panelStride: Int
}

extension MicroKernelInt16 {
  /// tile[r * 32 + n] = sum over taps t and channels k of rows[t * 8 + r][k] * panel[t][k][n], for 8 rows and 16 channels.
  @inline(__always)
  func run16(
    _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafePointer<Int32>, _ tile: UnsafeMutablePointer<Int32>
  ) {
    half16(rows, panel, tile)
    half16(rows + 4, panel, tile + 4 * 32)
  }

  /// `run16` for 32 channels: this panel and the next.
  @inline(__always)
  func run32(
    _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafePointer<Int32>, _ tile: UnsafeMutablePointer<Int32>
  ) {
    #if AVX512
      var (c0, c1, c2, c3) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
      var (c4, c5, c6, c7) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
      var (d0, d1, d2, d3) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
      var (d4, d5, d6, d7) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
      var tap = 0
      while tap < tapCount {
        let row = UnsafeRawPointer(rows + tap * tileRows).assumingMemoryBound(to: UnsafePointer<Int32>.self)
        let (a0, a1, a2, a3, a4, a5, a6, a7) = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
        var weights = panel + Int(taps[tap]) * pairs * 16
        var k = 0
        repeat {
          let (b, e) = (loadWords(weights), loadWords(weights + panelStride))
          var a = Integers(repeating: a0[k])
          c0 = temper_dot_pairs(c0, a, b)
          d0 = temper_dot_pairs(d0, a, e)
          a = Integers(repeating: a1[k])
          c1 = temper_dot_pairs(c1, a, b)
          d1 = temper_dot_pairs(d1, a, e)
          a = Integers(repeating: a2[k])
          c2 = temper_dot_pairs(c2, a, b)
          d2 = temper_dot_pairs(d2, a, e)
          a = Integers(repeating: a3[k])
          c3 = temper_dot_pairs(c3, a, b)
          d3 = temper_dot_pairs(d3, a, e)
          a = Integers(repeating: a4[k])
          c4 = temper_dot_pairs(c4, a, b)
          d4 = temper_dot_pairs(d4, a, e)
          a = Integers(repeating: a5[k])
          c5 = temper_dot_pairs(c5, a, b)
          d5 = temper_dot_pairs(d5, a, e)
          a = Integers(repeating: a6[k])
          c6 = temper_dot_pairs(c6, a, b)
          d6 = temper_dot_pairs(d6, a, e)
          a = Integers(repeating: a7[k])
          c7 = temper_dot_pairs(c7, a, b)
          d7 = temper_dot_pairs(d7, a, e)
          weights += 16
          k += 1
        } while k < pairs
        tap += 1
      }
      storeWords(c0, tile)
      storeWords(d0, tile + 16)
      storeWords(c1, tile + 32)
      storeWords(d1, tile + 48)
      storeWords(c2, tile + 64)
      storeWords(d2, tile + 80)
      storeWords(c3, tile + 96)
      storeWords(d3, tile + 112)
      storeWords(c4, tile + 128)
      storeWords(d4, tile + 144)
      storeWords(c5, tile + 160)
      storeWords(d5, tile + 176)
      storeWords(c6, tile + 192)
      storeWords(d6, tile + 208)
      storeWords(c7, tile + 224)
      storeWords(d7, tile + 240)
    #else
      run16(rows, panel, tile)
      run16(rows, panel + panelStride, tile + 16)
    #endif
  }

  /// Four rows of `run16`.
  @inline(__always)
  private func half16(
    _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafePointer<Int32>, _ tile: UnsafeMutablePointer<Int32>
  ) {
    var (c0, c1, c2, c3) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
    var tap = 0
    while tap < tapCount {
      let row = UnsafeRawPointer(rows + tap * tileRows).assumingMemoryBound(to: UnsafePointer<Int32>.self)
      let (a0, a1, a2, a3) = (row[0], row[1], row[2], row[3])
      var weights = panel + Int(taps[tap]) * pairs * 16
      var k = 0
      repeat {
        let b = loadWords(weights)
        c0 = temper_dot_pairs(c0, Integers(repeating: a0[k]), b)
        c1 = temper_dot_pairs(c1, Integers(repeating: a1[k]), b)
        c2 = temper_dot_pairs(c2, Integers(repeating: a2[k]), b)
        c3 = temper_dot_pairs(c3, Integers(repeating: a3[k]), b)
        weights += 16
        k += 1
      } while k < pairs
      tap += 1
    }
    storeWords(c0, tile)
    storeWords(c1, tile + 32)
    storeWords(c2, tile + 64)
    storeWords(c3, tile + 96)
  }
}

@inline(__always)
func loadWords(_ pointer: UnsafePointer<Int32>) -> Integers {
  UnsafeRawPointer(pointer).loadUnaligned(as: Integers.self)
}

@inline(__always)
func storeWords(_ vector: Integers, _ pointer: UnsafeMutablePointer<Int32>) {
  UnsafeMutableRawPointer(pointer).storeBytes(of: vector, as: Integers.self)
}
