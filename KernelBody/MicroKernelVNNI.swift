// The inner loop of the int8 product with the VNNI instruction.

#if VNNI
  internal import CIntrinsics

  extension Int8Product {
    /// tile[r * 32 + n] = sum over taps and channels of rows[r] * (weights[n] + 128), for 8 rows and 32 outputs (or
    /// 16).
    ///
    /// Per 4 channels 2 loads, 8 broadcasts and 16 dot products. A partial last group of channels comes from eight
    /// assembled words, so that no byte beyond a row is read.
    @inline(__always)
    func multiply(
      _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafeRawPointer, wide: Bool,
      into tile: UnsafeMutablePointer<Int32>
    ) {
      if wide { multiply32(rows, panel, tile) } else { multiply16(rows, panel, tile) }
    }

    /// The last 1...3 channels of 8 rows, each in the low bytes of a word.
    @inline(__always)
    private func assemble(_ rows: UnsafePointer<UnsafeRawPointer>, into words: UnsafeMutablePointer<UInt32>) {
      for row in 0..<tileRows {
        var word: UInt32 = 0
        for c in (channels / 4 * 4)..<channels {
          word |= UInt32((rows[row] + c).load(as: UInt8.self)) << UInt32(8 * (c % 4))
        }
        words[row] = word
      }
    }

    @inline(__always)
    private func multiply32(
      _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafeRawPointer, _ tile: UnsafeMutablePointer<Int32>
    ) {
      let zero = SIMD8<Int64>.zero
      var (c0, c1, c2, c3) = (zero, zero, zero, zero)
      var (c4, c5, c6, c7) = (zero, zero, zero, zero)
      var (d0, d1, d2, d3) = (zero, zero, zero, zero)
      var (d4, d5, d6, d7) = (zero, zero, zero, zero)
      let whole = channels / 4
      let segments = channels % 4 == 0 ? 1 : 2
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: tileRows) { words in
        let words = words.baseAddress!
        var tap = 0
        while tap < taps {
          let row = rows + tap * tileRows
          var weights = panel + Int(tapList[tap]) * tapBytes(channels)
          var (a0, a1, a2, a3) = (row[0], row[1], row[2], row[3])
          var (a4, a5, a6, a7) = (row[4], row[5], row[6], row[7])
          var groups = whole
          var segment = 0
          while segment < segments {
            if segment == 1 {
              assemble(row, into: words)
              let word = UnsafeRawPointer(words)
              (a0, a1, a2, a3) = (word, word + 4, word + 8, word + 12)
              (a4, a5, a6, a7) = (word + 16, word + 20, word + 24, word + 28)
              groups = 1
            }
            var group = 0
            while group < groups {
              let (b, e) = (loadWords(weights), loadWords(weights + panelBytes))
              var a = broadcast(a0 + group * 4)
              c0 = temper_dot_u8s8(c0, b, a)
              d0 = temper_dot_u8s8(d0, e, a)
              a = broadcast(a1 + group * 4)
              c1 = temper_dot_u8s8(c1, b, a)
              d1 = temper_dot_u8s8(d1, e, a)
              a = broadcast(a2 + group * 4)
              c2 = temper_dot_u8s8(c2, b, a)
              d2 = temper_dot_u8s8(d2, e, a)
              a = broadcast(a3 + group * 4)
              c3 = temper_dot_u8s8(c3, b, a)
              d3 = temper_dot_u8s8(d3, e, a)
              a = broadcast(a4 + group * 4)
              c4 = temper_dot_u8s8(c4, b, a)
              d4 = temper_dot_u8s8(d4, e, a)
              a = broadcast(a5 + group * 4)
              c5 = temper_dot_u8s8(c5, b, a)
              d5 = temper_dot_u8s8(d5, e, a)
              a = broadcast(a6 + group * 4)
              c6 = temper_dot_u8s8(c6, b, a)
              d6 = temper_dot_u8s8(d6, e, a)
              a = broadcast(a7 + group * 4)
              c7 = temper_dot_u8s8(c7, b, a)
              d7 = temper_dot_u8s8(d7, e, a)
              weights += 64
              group += 1
            }
            segment += 1
          }
          tap += 1
        }
      }
      let sums = UnsafeMutableRawPointer(tile)
      sums.storeBytes(of: c0, as: SIMD8<Int64>.self)
      (sums + 128).storeBytes(of: c1, as: SIMD8<Int64>.self)
      (sums + 256).storeBytes(of: c2, as: SIMD8<Int64>.self)
      (sums + 384).storeBytes(of: c3, as: SIMD8<Int64>.self)
      (sums + 512).storeBytes(of: c4, as: SIMD8<Int64>.self)
      (sums + 640).storeBytes(of: c5, as: SIMD8<Int64>.self)
      (sums + 768).storeBytes(of: c6, as: SIMD8<Int64>.self)
      (sums + 896).storeBytes(of: c7, as: SIMD8<Int64>.self)
      (sums + 64).storeBytes(of: d0, as: SIMD8<Int64>.self)
      (sums + 192).storeBytes(of: d1, as: SIMD8<Int64>.self)
      (sums + 320).storeBytes(of: d2, as: SIMD8<Int64>.self)
      (sums + 448).storeBytes(of: d3, as: SIMD8<Int64>.self)
      (sums + 576).storeBytes(of: d4, as: SIMD8<Int64>.self)
      (sums + 704).storeBytes(of: d5, as: SIMD8<Int64>.self)
      (sums + 832).storeBytes(of: d6, as: SIMD8<Int64>.self)
      (sums + 960).storeBytes(of: d7, as: SIMD8<Int64>.self)
    }

    @inline(__always)
    private func multiply16(
      _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafeRawPointer, _ tile: UnsafeMutablePointer<Int32>
    ) {
      let zero = SIMD8<Int64>.zero
      var (c0, c1, c2, c3) = (zero, zero, zero, zero)
      var (c4, c5, c6, c7) = (zero, zero, zero, zero)
      let whole = channels / 4
      let segments = channels % 4 == 0 ? 1 : 2
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: tileRows) { words in
        let words = words.baseAddress!
        var tap = 0
        while tap < taps {
          let row = rows + tap * tileRows
          var weights = panel + Int(tapList[tap]) * tapBytes(channels)
          var (a0, a1, a2, a3) = (row[0], row[1], row[2], row[3])
          var (a4, a5, a6, a7) = (row[4], row[5], row[6], row[7])
          var groups = whole
          var segment = 0
          while segment < segments {
            if segment == 1 {
              assemble(row, into: words)
              let word = UnsafeRawPointer(words)
              (a0, a1, a2, a3) = (word, word + 4, word + 8, word + 12)
              (a4, a5, a6, a7) = (word + 16, word + 20, word + 24, word + 28)
              groups = 1
            }
            var group = 0
            while group < groups {
              let b = loadWords(weights)
              c0 = temper_dot_u8s8(c0, b, broadcast(a0 + group * 4))
              c1 = temper_dot_u8s8(c1, b, broadcast(a1 + group * 4))
              c2 = temper_dot_u8s8(c2, b, broadcast(a2 + group * 4))
              c3 = temper_dot_u8s8(c3, b, broadcast(a3 + group * 4))
              c4 = temper_dot_u8s8(c4, b, broadcast(a4 + group * 4))
              c5 = temper_dot_u8s8(c5, b, broadcast(a5 + group * 4))
              c6 = temper_dot_u8s8(c6, b, broadcast(a6 + group * 4))
              c7 = temper_dot_u8s8(c7, b, broadcast(a7 + group * 4))
              weights += 64
              group += 1
            }
            segment += 1
          }
          tap += 1
        }
      }
      let sums = UnsafeMutableRawPointer(tile)
      sums.storeBytes(of: c0, as: SIMD8<Int64>.self)
      (sums + 128).storeBytes(of: c1, as: SIMD8<Int64>.self)
      (sums + 256).storeBytes(of: c2, as: SIMD8<Int64>.self)
      (sums + 384).storeBytes(of: c3, as: SIMD8<Int64>.self)
      (sums + 512).storeBytes(of: c4, as: SIMD8<Int64>.self)
      (sums + 640).storeBytes(of: c5, as: SIMD8<Int64>.self)
      (sums + 768).storeBytes(of: c6, as: SIMD8<Int64>.self)
      (sums + 896).storeBytes(of: c7, as: SIMD8<Int64>.self)
    }
  }

  /// Four signed bytes, sixteen times.
  @inline(__always)
  private func broadcast(_ bytes: UnsafeRawPointer) -> SIMD8<Int64> {
    unsafeBitCast(Integers(repeating: bytes.loadUnaligned(as: Int32.self)), to: SIMD8<Int64>.self)
  }

  @inline(__always)
  private func loadWords(_ bytes: UnsafeRawPointer) -> SIMD8<Int64> { bytes.loadUnaligned(as: SIMD8<Int64>.self) }
#endif
