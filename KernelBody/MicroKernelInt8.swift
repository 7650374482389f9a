// The inner loop of the int8 product where there is no VNNI instruction: int16 pairs. Twin of MicroKernelVNNI.swift.

#if !VNNI
  internal import CIntrinsics

  /// Channels that are widened to int16 at a time.
  private let stagedChannels = 512

  extension Int8Product {
    /// tile[r * 32 + n] = the sums of 8 rows and one or two panels.
    ///
    /// Rows are widened to int16 a run of channels at a time, which costs a tenth of the products they feed.
    @inline(__always)
    func multiply(
      _ rows: UnsafePointer<UnsafeRawPointer>, _ panel: UnsafeRawPointer, wide: Bool,
      into tile: UnsafeMutablePointer<Int32>
    ) {
      var storage = InlineArray<2048, Int32>(repeating: 0)
      withUnsafeMutableBytes(of: &storage) { storage in
        let staged = storage.baseAddress!.assumingMemoryBound(to: Int16.self)
        for i in 0..<(tileRows * 32) { tile[i] = 0 }
        for tap in 0..<taps {
          var channel = 0
          while channel < channels {
            let count = min(stagedChannels, channels - channel)
            stage(rows + tap * tileRows, channel, count, staged)
            let weights = panel + Int(tapList[tap]) * tapBytes(channels) + channel / 2 * 64
            for index in 0..<(wide ? 2 : 1) {
              let panelWeights = weights + index * panelBytes
              multiply4(staged, (count + 1) / 2, panelWeights, tile + index * 16)
              multiply4(staged + 4 * stagedChannels, (count + 1) / 2, panelWeights, tile + 4 * 32 + index * 16)
            }
            channel += count
          }
        }
      }
    }

    /// Widens `count` channels of 8 rows to int16, with a zero after an odd count.
    @inline(__always)
    private func stage(
      _ rows: UnsafePointer<UnsafeRawPointer>, _ channel: Int, _ count: Int, _ staged: UnsafeMutablePointer<Int16>
    ) {
      for row in 0..<tileRows {
        let source = (rows[row] + channel).assumingMemoryBound(to: Int8.self)
        let target = staged + row * stagedChannels
        var c = 0
        while c + 16 <= count {
          let wide = temper_widen_int8_to_int16(load(source + c, 16))
          UnsafeMutableRawPointer(target + c).storeBytes(of: wide, as: SIMD16<Int16>.self)
          c += 16
        }
        while c < count {
          target[c] = Int16(source[c])
          c += 1
        }
        if count % 2 == 1 { target[count] = 0 }
      }
    }

    /// Adds the sums of 4 rows over `pairs` pairs of channels.
    ///
    /// The additions are the only chain, so four are enough.
    @inline(__always)
    private func multiply4(
      _ staged: UnsafePointer<Int16>, _ pairs: Int, _ weights: UnsafeRawPointer, _ tile: UnsafeMutablePointer<Int32>
    ) {
      let sums = UnsafeMutableRawPointer(tile)
      let row = UnsafeRawPointer(staged)
      let stride = stagedChannels * 2
      var (c0, c1) = (sums.loadUnaligned(as: Integers.self), (sums + 128).loadUnaligned(as: Integers.self))
      var (c2, c3) = ((sums + 256).loadUnaligned(as: Integers.self), (sums + 384).loadUnaligned(as: Integers.self))
      for pair in 0..<pairs {
        let b = (weights + pair * 64).loadUnaligned(as: Integers.self)
        let x = row + pair * 4
        c0 = temper_dot_pairs(c0, Integers(repeating: x.load(as: Int32.self)), b)
        c1 = temper_dot_pairs(c1, Integers(repeating: (x + stride).load(as: Int32.self)), b)
        c2 = temper_dot_pairs(c2, Integers(repeating: (x + 2 * stride).load(as: Int32.self)), b)
        c3 = temper_dot_pairs(c3, Integers(repeating: (x + 3 * stride).load(as: Int32.self)), b)
      }
      sums.storeBytes(of: c0, as: Integers.self)
      (sums + 128).storeBytes(of: c1, as: Integers.self)
      (sums + 256).storeBytes(of: c2, as: Integers.self)
      (sums + 384).storeBytes(of: c3, as: Integers.self)
    }
  }
#endif
