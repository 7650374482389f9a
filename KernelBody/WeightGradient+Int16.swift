// Weight gradients of int8 by int16: exact int32 sums over blocks of 256 pixels, each block then scaled and added as floats.
// The instruction adds two products, so pixels come in pairs: rows and columns are staged as words of two int16, an odd last
// pixel with a zero. 2^8 pixels of at most 2^7 x 2^15 stay below 2^31.

internal import CIntrinsics
internal import KernelsInterface

extension WeightGradient {
  /// One shard's sums of `count` rows of tiles from row group `group`, joined with `joins` entries below on the stack.
  @inline(__always)
  func sumIntegers(
    _ gradientOutput: UnsafePointer<Int16>, _ scales: UnsafePointer<Float>, _ shard: Int, _ group: Int, _ count: Int,
    _ column: Int, _ sums: UnsafeMutablePointer<Float>, joins: Int
  ) {
    let outputs = plan.geometry.outputChannels
    let pixels = pixels(group)
    let perShard = samplesPerShard * pixels.pixelCount
    let columns = (min(columns * 32, outputs - column) + 31) / 32
    let start = shard * perShard
    var first = start
    let end = first + perShard
    while first < end {
      let block = block(
        pixels, first..<min(first + 2 * blockPixels, end), gradientOutput, elementBytes: 2)
      for index in 0..<columns { stagePairs(block, column + index * 32, index) }
      joinTaps(block, group, count)
      let tileSums = TileSums(startFromZero: first == start, joins: first + block.count == end ? joins : 0)
      var tap = -1
      for index in 0..<count {
        if index % 2 == 0 { stageRowPairs(block, group + index, min(2, count - index), &tap) }
        let staged = words(stagedRows + index % 2 * tileRows)
        for columnIndex in 0..<columns {
          let width = outputs - column - columnIndex * 32
          let scale = scales + shard * outputs + column + columnIndex * 32
          multiplyPairs(
            (block.count + 1) / 2, staged, words(stagedColumns + columnIndex * blockPixels * 32), scale, width,
            sums + (index * self.columns + columnIndex) * tileRows * 32, tileSums)
        }
      }
      first += block.count
    }
  }

  @inline(__always)
  private func words(_ floats: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Int32> {
    UnsafeMutableRawPointer(floats).assumingMemoryBound(to: Int32.self)
  }

  /// Pairs the block's pixels in 32 columns, zero past the last.
  @inline(__always)
  private func stagePairs(_ block: PixelBlock, _ column: Int, _ index: Int) {
    let width = min(32, plan.geometry.outputChannels - column)
    var target = words(stagedColumns + index * blockPixels * 32)
    var pixel = 0
    while pixel < block.count {
      let isPair = pixel + 1 < block.count
      let low = block.gradients[pixel].assumingMemoryBound(to: Int16.self) + column
      let high = isPair ? block.gradients[pixel + 1].assumingMemoryBound(to: Int16.self) + column : low
      storeWords(temper_pair_int16(load(low, width), load(high, isPair ? width : 0)), target)
      if width > 16 {
        storeWords(
          temper_pair_int16(load(low + 16, width - 16), load(high + 16, isPair ? width - 16 : 0)), target + 16)
      }
      target += 32
      pixel += 2
    }
  }

  /// Pairs the rows of one or two tiles, a cache line per pair of pixels.
  ///
  /// - Parameter tap: what `rows` points to, or -1.
  @inline(__always)
  private func stageRowPairs(_ block: PixelBlock, _ group: Int, _ tiles: Int, _ tap: inout Int) {
    stage(block, group, tiles, &tap) { channel, tiles, index in
      pairRows(block, channel, tiles: tiles, words(stagedRows + index * tileRows))
    } copySingle: { firstRow, index in
      stageSinglePairs(block, firstRow, words(stagedRows + index * tileRows))
    }
  }

  /// Pairs 8 channels of the pixels for each of one or two tiles.
  @inline(__always)
  private func pairRows(_ block: PixelBlock, _ channel: Int, tiles: Int, _ target: UnsafeMutablePointer<Int32>) {
    var (place, pixel) = (UnsafeMutableRawPointer(target), 0)
    while pixel < block.count {
      // Past an odd last pixel `rows` may point anywhere valid: the columns are zero there.
      let (low, high) = (block.rows[pixel] + channel, block.rows[pixel + 1] + channel)
      if tiles == 2 {
        let pairs = temper_pair_int16(
          temper_widen_int8_to_int16(low.loadUnaligned(as: SIMD16<Int8>.self)),
          temper_widen_int8_to_int16(high.loadUnaligned(as: SIMD16<Int8>.self)))
        place.storeBytes(of: pairs, as: Integers.self)
      } else {
        let zeros = SIMD8<Int8>.zero
        let pairs = temper_pair_int16(
          temper_widen_int8_to_int16(
            SIMD16(lowHalf: low.loadUnaligned(as: SIMD8<Int8>.self), highHalf: zeros)),
          temper_widen_int8_to_int16(
            SIMD16(lowHalf: high.loadUnaligned(as: SIMD8<Int8>.self), highHalf: zeros)))
        place.storeBytes(of: pairs.lowHalf, as: SIMD8<Int32>.self)
      }
      place += stagedStride * 4
      pixel += 2
    }
  }

  /// Pairs 8 consecutive (t, c) of the pixels, zero past the last row.
  private func stageSinglePairs(_ block: PixelBlock, _ firstRow: Int, _ target: UnsafeMutablePointer<Int32>) {
    let pairs = (block.count + 1) / 2
    visitRows(block, firstRow) { lane, channel in
      for pair in 0..<pairs {
        guard let channel else {
          target[pair * stagedStride + lane] = 0
          continue
        }
        let low = block.rows[2 * pair].load(fromByteOffset: channel, as: Int8.self)
        let high = block.rows[2 * pair + 1].load(fromByteOffset: channel, as: Int8.self)
        target[pair * stagedStride + lane] = Int32(low) & 0xFFFF | Int32(high) << 16
      }
    }
  }
}
