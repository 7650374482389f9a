// Forward convolution and input gradient as indirect matrix products.

internal import CIntrinsics
package import KernelsInterface

extension Body {
  package static func packWeights(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    let (channels, outputs) = (plan.geometry.inputChannels, plan.geometry.outputChannels)
    let rows = plan.geometry.taps * channels
    for panel in share((outputs + 15) / 16, part: part, of: parts) {
      let lanes = min(16, outputs - panel * 16)
      let (source, target) = (weights + panel * rows * 16, packed + panel * rows * 16)
      for row in 0..<rows { store(load(source + row * lanes, lanes), target + row * 16) }
    }
  }

  package static func packInputGradientWeights(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    let (taps, channels, outputs) = (plan.geometry.taps, plan.geometry.inputChannels, plan.geometry.outputChannels)
    for panel in share((channels + 15) / 16, part: part, of: parts) {
      let lanes = min(16, channels - panel * 16)
      for tap in 0..<taps {
        for k in stride(from: 0, to: outputs, by: 16) {
          let width = min(16, outputs - k)
          let source = weights + taps * channels * k + (tap * channels + panel * 16) * width
          let target = packed + ((panel * taps + tap) * outputs + k) * 16
          if lanes == 16 && width == 16 {
            temper_transpose(source, 16, target)
          } else {
            for column in 0..<width {
              for lane in 0..<16 { target[column * 16 + lane] = lane < lanes ? source[lane * width + column] : 0 }
            }
          }
        }
      }
    }
  }

  package static func convolveForward(
    _ plan: ConvolutionPlan, samples: Int, input: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    bias: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    let g = plan.geometry
    if let tiles = plan.forwardTiles {
      return WinogradProduct(
        plan: plan, table: tiles.pointee, source: input, sourceChannels: g.inputChannels, sourceCount: g.inputCount,
        packed: packed, isGradient: false, bias: bias, target: output, targetChannels: g.outputChannels,
        accumulate: false
      ).run(samples: samples, scratch: scratch, part: part, of: parts)
    }
    for index in 0..<plan.forward.count {
      multiply(
        plan.forward[index], taps: g.taps, samples: samples, source: input, sourceChannels: g.inputChannels,
        sourceCount: g.inputCount, zeros: plan.zeros,
        weights: PanelSource(packed: packed, isTurned: false, allTaps: plan.pixels.taps, turned: scratch), bias: bias,
        target: output,
        targetChannels: g.outputChannels, targetCount: g.outputCount, accumulate: false, part: part, of: parts)
    }
  }

  package static func convolveInputGradient(
    _ plan: ConvolutionPlan, samples: Int, gradientOutput: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    gradientInput: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    let g = plan.geometry
    if let tiles = plan.inputGradientTiles {
      return WinogradProduct(
        plan: plan, table: tiles.pointee, source: gradientOutput, sourceChannels: g.outputChannels,
        sourceCount: g.outputCount,
        packed: packed, isGradient: true, bias: nil, target: gradientInput, targetChannels: g.inputChannels,
        accumulate: accumulate
      ).run(samples: samples, scratch: scratch, part: part, of: parts)
    }
    for index in 0..<plan.inputGradient.count {
      let pixels = plan.inputGradient[index]
      multiply(
        pixels, taps: g.taps, samples: samples, source: gradientOutput, sourceChannels: g.outputChannels,
        sourceCount: g.outputCount, zeros: plan.zeros,
        weights: PanelSource(
          packed: packed, isTurned: plan.sharesPackedWeights, allTaps: plan.pixels.taps, turned: scratch),
        bias: nil, target: gradientInput, targetChannels: g.inputChannels, targetCount: g.inputCount,
        accumulate: accumulate, part: part, of: parts)
    }
  }
}

/// Where the panels of a product come from.
private struct PanelSource {
  /// [target channels/16][T][source channels][16]; if turned, [source channels/16][T][target channels][16].
  let packed: UnsafePointer<Float>
  /// Whether panels must be turned, into the second-level cache when their turn comes: an input gradient from the weights of the
  /// forward product.
  let isTurned: Bool
  /// 0..<T.
  let allTaps: UnsafePointer<Int32>
  /// Room for two panels with the taps of one class.
  let turned: UnsafeMutablePointer<Float>

  /// Writes target channels [panel * 16, panel * 16 + 16) of the class's taps: [tapCount][source channels][16].
  @inline(__always)
  func turn(
    _ panel: Int, _ pixels: PixelClass, taps: Int, sourceChannels: Int, targetChannels: Int,
    into target: UnsafeMutablePointer<Float>
  ) {
    for index in 0..<pixels.tapCount {
      for source in 0..<sourceChannels / 16 {
        let block = (source * taps + Int(pixels.taps[index])) * targetChannels + panel * 16
        temper_transpose(packed + block * 16, 16, target + (index * sourceChannels + source * 16) * 16)
      }
    }
  }
}

/// The product behind both: target pixel = sum over its taps and source channels.
private func multiply(
  _ pixels: PixelClass, taps: Int, samples: Int, source: UnsafePointer<Float>, sourceChannels: Int, sourceCount: Int,
  zeros: UnsafePointer<Float>, weights: PanelSource, bias: UnsafePointer<Float>?,
  target: UnsafeMutablePointer<Float>, targetChannels: Int, targetCount: Int, accumulate: Bool, part: Int,
  of parts: Int
) {
  let rowSource = RowSource(base: source, sampleBytes: sourceCount * 4, elementShift: 2, zeros: zeros)
  let isTurned = weights.isTurned
  let kernel = MicroKernel(
    taps: isTurned ? weights.allTaps : pixels.taps, tapCount: pixels.tapCount, depth: sourceChannels,
    panelStride: (isTurned ? pixels.tapCount : taps) * sourceChannels * 16)
  let writer = TileWriter(
    pixels: pixels, samples: samples, bias: bias, target: target, channels: targetChannels, accumulate: accumulate)
  let shares = TileShares(pixels: writer.total, channels: targetChannels, part: part, of: parts)
  withScratch { pointers, tile in
    shares.visitBlocks(
      of: rowSource, pixels, total: writer.total, sampleCount: targetCount, channels: targetChannels,
      pointers: pointers,
      beginPanels: { panel, panels in
        guard isTurned else { return }
        for index in 0..<panels {
          weights.turn(
            panel + index, pixels, taps: taps, sourceChannels: sourceChannels, targetChannels: targetChannels,
            into: weights.turned + index * kernel.panelStride)
        }
      }
    ) { pixelTile, panel, panels in
      let weights = isTurned ? UnsafePointer(weights.turned) : weights.packed + panel * kernel.panelStride
      let direct = writer.directTarget(firstPixel: pixelTile.firstPixel, panel: panel, panels: panels)
      let (result, stride) = (direct ?? tile, direct == nil ? 32 : targetChannels)
      if panels == 2 {
        kernel.run32(pixelTile.rows, weights, result, stride: stride)
      } else {
        kernel.run16(pixelTile.rows, weights, result, stride: stride)
      }
      if direct == nil { writer.write(tile, pixelTile, panel: panel, panels: panels) }
    }
  }
}

/// 2,048 row pointers with 512 places of targets behind them, and a tile of 8 x 32 floats, on the stack. (`withUnsafeTemporaryAllocation` takes more than 1,024
/// bytes from the heap, and an inline array of vectors is made by a function that levels would share.)
@inline(__always)
func withScratch(_ body: (UnsafeMutablePointer<UnsafeRawPointer>, UnsafeMutablePointer<Float>) -> Void) {
  var storage = InlineArray<2824, Int>(repeating: 0)
  withUnsafeMutableBytes(of: &storage) { storage in
    let start = storage.baseAddress!.alignedUp(toMultipleOf: 64)
    let tile = (start + 20480).assumingMemoryBound(to: Float.self)
    body(start.assumingMemoryBound(to: UnsafeRawPointer.self), tile)
  }
}
