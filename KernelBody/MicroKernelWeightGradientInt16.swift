// The inner loop of the int16 weight gradient: 8 rows (channels of x) by 16 or 32 columns of dy, two pixels per instruction.
// Register use as in MicroKernelWeightGradient.swift. A block's exact sums are scaled once and join floats.

internal import CIntrinsics

extension WeightGradient {
  /// tile[r, n] += scale[n] * sum over pairs of rows[pair, r] * columns[pair, n], for 8 rows and `width`, at most 32,
  /// columns.
  ///
  /// - Parameters:
  ///   - rows: 8 of every `stagedStride` words of two int16, [pairs, 16].
  ///   - columns: [pairs, 32] words.
  ///   - scale: [width]
  @inline(__always)
  func multiplyPairs(
    _ pairs: Int, _ rows: UnsafePointer<Int32>, _ columns: UnsafePointer<Int32>, _ scale: UnsafePointer<Float>,
    _ width: Int, _ tile: UnsafeMutablePointer<Float>, _ sums: TileSums
  ) {
    #if AVX512
      if width > 16 {
        multiplyPairs32(pairs, rows, columns, scale, width, tile, sums)
      } else {
        multiplyPairs16(pairs, rows, columns, load(scale, width), tile, sums)
        multiplyPairs16(pairs, rows + 4, columns, load(scale, width), tile + 128, sums)
      }
    #else
      multiplyPairs16(pairs, rows, columns, load(scale, width), tile, sums)
      multiplyPairs16(pairs, rows + 4, columns, load(scale, width), tile + 128, sums)
      if width > 16 {
        multiplyPairs16(pairs, rows, columns + 16, load(scale + 16, width - 16), tile + 16, sums)
        multiplyPairs16(pairs, rows + 4, columns + 16, load(scale + 16, width - 16), tile + 144, sums)
      }
    #endif
  }

  /// Four rows by 16 columns.
  private func multiplyPairs16(
    _ pairs: Int, _ rows: UnsafePointer<Int32>, _ columns: UnsafePointer<Int32>, _ scale: Floats,
    _ tile: UnsafeMutablePointer<Float>, _ sums: TileSums
  ) {
    var (c0, c1, c2, c3) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
    var (x, gradient) = (rows, columns)
    for _ in 0..<pairs {
      let b = loadWords(gradient)
      c0 = temper_dot_pairs(c0, Integers(repeating: x[0]), b)
      c1 = temper_dot_pairs(c1, Integers(repeating: x[1]), b)
      c2 = temper_dot_pairs(c2, Integers(repeating: x[2]), b)
      c3 = temper_dot_pairs(c3, Integers(repeating: x[3]), b)
      x += stagedStride
      gradient += 32
    }
    sums.add(c0, scale, to: tile)
    sums.add(c1, scale, to: tile + 32)
    sums.add(c2, scale, to: tile + 64)
    sums.add(c3, scale, to: tile + 96)
  }

  #if AVX512
    /// Eight rows by 32 columns.
    @inline(__always)
    private func multiplyPairs32(
      _ pairs: Int, _ rows: UnsafePointer<Int32>, _ columns: UnsafePointer<Int32>, _ scale: UnsafePointer<Float>,
      _ width: Int, _ tile: UnsafeMutablePointer<Float>, _ sums: TileSums
    ) {
      var (c0, c1, c2, c3) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
      var (c4, c5, c6, c7) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
      var (d0, d1, d2, d3) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
      var (d4, d5, d6, d7) = (Integers.zero, Integers.zero, Integers.zero, Integers.zero)
      var (x, gradient) = (rows, columns)
      for _ in 0..<pairs {
        let (b, e) = (loadWords(gradient), loadWords(gradient + 16))
        var a = Integers(repeating: x[0])
        c0 = temper_dot_pairs(c0, a, b)
        d0 = temper_dot_pairs(d0, a, e)
        a = Integers(repeating: x[1])
        c1 = temper_dot_pairs(c1, a, b)
        d1 = temper_dot_pairs(d1, a, e)
        a = Integers(repeating: x[2])
        c2 = temper_dot_pairs(c2, a, b)
        d2 = temper_dot_pairs(d2, a, e)
        a = Integers(repeating: x[3])
        c3 = temper_dot_pairs(c3, a, b)
        d3 = temper_dot_pairs(d3, a, e)
        a = Integers(repeating: x[4])
        c4 = temper_dot_pairs(c4, a, b)
        d4 = temper_dot_pairs(d4, a, e)
        a = Integers(repeating: x[5])
        c5 = temper_dot_pairs(c5, a, b)
        d5 = temper_dot_pairs(d5, a, e)
        a = Integers(repeating: x[6])
        c6 = temper_dot_pairs(c6, a, b)
        d6 = temper_dot_pairs(d6, a, e)
        a = Integers(repeating: x[7])
        c7 = temper_dot_pairs(c7, a, b)
        d7 = temper_dot_pairs(d7, a, e)
        x += stagedStride
        gradient += 32
      }
      let (left, right) = (load(scale), load(scale + 16, width - 16))
      sums.add(c0, left, to: tile)
      sums.add(d0, right, to: tile + 16)
      sums.add(c1, left, to: tile + 32)
      sums.add(d1, right, to: tile + 48)
      sums.add(c2, left, to: tile + 64)
      sums.add(d2, right, to: tile + 80)
      sums.add(c3, left, to: tile + 96)
      sums.add(d3, right, to: tile + 112)
      sums.add(c4, left, to: tile + 128)
      sums.add(d4, right, to: tile + 144)
      sums.add(c5, left, to: tile + 160)
      sums.add(d5, right, to: tile + 176)
      sums.add(c6, left, to: tile + 192)
      sums.add(d6, right, to: tile + 208)
      sums.add(c7, left, to: tile + 224)
      sums.add(d7, right, to: tile + 240)
    }
  #endif
}

extension TileSums {
  /// Scales a block's exact sum and stores it with what it belongs to: the shard's sum so far, then the waiting entries.
  @inline(__always)
  fileprivate func add(_ sum: Integers, _ scale: Floats, to tile: UnsafeMutablePointer<Float>) {
    let real = temper_to_float(sum)
    var value = startFromZero ? real * scale : fma(real, scale, load(tile))
    var place = tile
    for _ in 0..<joins {
      place -= groupFloats
      value = load(place) + value
    }
    store(value, place)
  }
}
