// Input gradient of int8 weights and int16 gradients with exact int32 sums, as an indirect matrix product like the one in
// Convolution.swift. Each shard has its own scale, because a shard's numbers must not depend on who computes the others.

internal import CIntrinsics
package import KernelsInterface

extension Body {
  package static func packInputGradientWeightsInt16(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Int8>, into packed: UnsafeMutablePointer<Int16>,
    magnitudes: UnsafeMutablePointer<Int32>, part: Int, of parts: Int
  ) {
    let (taps, channels, outputs) = (plan.geometry.taps, plan.geometry.inputChannels, plan.geometry.outputChannels)
    let words = UnsafeMutableRawPointer(packed).assumingMemoryBound(to: Int32.self)
    for panel in share((channels + 15) / 16, part: part, of: parts) {
      let lanes = min(16, channels - panel * 16)
      var magnitude = Integers.zero
      for tap in 0..<taps {
        let target = words + (panel * taps + tap) * outputs * 8
        @inline(__always)
        func source(_ k: Int, _ width: Int) -> UnsafePointer<Int8> {
          weights + taps * channels * k + (tap * channels + panel * 16) * width
        }
        let whole = lanes == 16 ? outputs / 32 * 32 : 0
        for k in stride(from: 0, to: whole, by: 32) {
          transposePairs(source(k, 16), source(k + 16, 16), into: target + k * 8)
          addMagnitudes(of: target + k * 8, pairs: 16, to: &magnitude)
        }
        forVectors(whole..<outputs) { k, count in
          let rows = target + k * 8
          for lane in 0..<16 {
            let values = lane < lanes ? load(source(k, count) + lane * count, count) : .zero
            let pairs = unsafeBitCast(temper_widen_int8_to_int16(values), to: SIMD8<Int32>.self)
            for pair in 0..<count / 2 { rows[pair * 16 + lane] = pairs[pair] }
          }
          addMagnitudes(of: rows, pairs: count / 2, to: &magnitude)
        }
      }
      for lane in 0..<lanes { magnitudes[panel * 16 + lane] = magnitude[lane] }
    }
  }

  package static func convolveInputGradientInt16(
    _ plan: ConvolutionPlan, samples: Int, samplesPerShard: Int, gradientOutput: UnsafePointer<Int16>,
    packed: UnsafePointer<Int16>, scales: UnsafePointer<Float>, gradientInput: UnsafeMutablePointer<Float>,
    accumulate: Bool, part: Int, of parts: Int
  ) {
    let g = plan.geometry
    let source = RowSource(base: gradientOutput, sampleBytes: g.outputCount * 2, elementShift: 1, zeros: plan.zeros)
    let writer = TileWriter(bias: nil, target: gradientInput, channels: g.inputChannels, accumulate: accumulate)
    let (tiles, words) = (
      ClassTiles(classes: plan.inputGradient, samples: samples),
      UnsafeRawPointer(packed).assumingMemoryBound(to: Int32.self)
    )
    let panelStride = g.taps * g.outputChannels * 8
    // Target pixel = sum over its taps and source channels, as in Convolution.swift.
    let shares = TileShares(tileCount: tiles.count, channels: g.inputChannels, part: part, of: parts)
    withScratch { pointers, tile in
      let tile = UnsafeMutableRawPointer(tile).assumingMemoryBound(to: Int32.self)
      shares.visitBlocks(
        of: source, tiles, sampleCount: g.inputCount, channels: g.inputChannels, pointers: pointers,
        readAhead: { panel, panels, share, shares in
          readAhead(words + panel * panelStride, byteCount: panels * panelStride * 4, share: share, of: shares)
        }
      ) { pixelTile, panel, panels in
        let pixels = pixelTile.pixels
        let kernel = MicroKernelInt16(
          taps: pixels.taps, tapCount: pixels.tapCount, pairs: g.outputChannels / 2, panelStride: panelStride)
        let weights = words + panel * panelStride
        if panels == 2 {
          kernel.run32(pixelTile.rows, weights, tile)
        } else {
          kernel.run16(pixelTile.rows, weights, tile)
        }
        let scaling = ShardScaling(scales: scales, pixelsPerShard: samplesPerShard * pixels.pixelCount)
        let result = scaling.apply(to: tile, firstPixel: pixelTile.firstPixel, total: pixelTile.total)
        writer.write(result, pixelTile, panel: panel, panels: panels)
      }
    }
  }
}

/// rows[pair][lane] = the int16 pair 2 pair, 2 pair + 1 of row `lane`: 16 rows of 32 int8, in two panels, turned.
@inline(__always)
private func transposePairs(
  _ left: UnsafePointer<Int8>, _ right: UnsafePointer<Int8>, into rows: UnsafeMutablePointer<Int32>
) {
  var storage = InlineArray<256, Float>(repeating: 0)
  withUnsafeMutableBytes(of: &storage) { storage in
    let wide = storage.baseAddress!.assumingMemoryBound(to: Int16.self)
    for lane in 0..<16 {
      store(temper_widen_int8_to_int16(load(left + lane * 16, 16)), wide + lane * 32, 16)
      store(temper_widen_int8_to_int16(load(right + lane * 16, 16)), wide + lane * 32 + 16, 16)
    }
    // Words are moved, not computed with, so their patterns as floats do not matter.
    temper_transpose(
      storage.baseAddress!.assumingMemoryBound(to: Float.self), 16,
      UnsafeMutableRawPointer(rows).assumingMemoryBound(to: Float.self))
  }
}

/// Adds |low| + |high| of every pair to its lane.
@inline(__always)
private func addMagnitudes(of rows: UnsafePointer<Int32>, pairs: Int, to magnitude: inout Integers) {
  for pair in 0..<pairs {
    let word = loadWords(rows + pair * 16)
    let (low, high) = ((word &<< 16) &>> 16, word &>> 16)
    magnitude &+= low.replacing(with: 0 &- low, where: low .< Integers.zero)
    magnitude &+= high.replacing(with: 0 &- high, where: high .< Integers.zero)
  }
}

/// What an int32 sum of a pixel is worth.
private struct ShardScaling {
  /// One scale per shard, [S].
  let scales: UnsafePointer<Float>
  let pixelsPerShard: Int

  /// Turns the [8, 32] sums of a tile into floats, in place.
  @inline(__always)
  func apply(to tile: UnsafeMutablePointer<Int32>, firstPixel: Int, total: Int) -> UnsafeMutablePointer<Float> {
    let result = UnsafeMutableRawPointer(tile).assumingMemoryBound(to: Float.self)
    var shard = firstPixel / pixelsPerShard
    var end = (shard + 1) * pixelsPerShard
    var scale = Floats(repeating: scales[shard])
    for row in 0..<min(tileRows, total - firstPixel) {
      if firstPixel + row == end {
        shard += 1
        end += pixelsPerShard
        scale = Floats(repeating: scales[shard])
      }
      store(temper_to_float(loadWords(tile + row * 32)) * scale, result + row * 32)
      store(temper_to_float(loadWords(tile + row * 32 + 16)) * scale, result + row * 32 + 16)
    }
    return result
  }
}
