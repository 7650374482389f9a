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
        sourceCount: g.inputCount, zeros: plan.zeros, packed: packed, bias: bias, target: output,
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
      multiply(
        plan.inputGradient[index], taps: g.taps, samples: samples, source: gradientOutput,
        sourceChannels: g.outputChannels, sourceCount: g.outputCount, zeros: plan.zeros, packed: packed, bias: nil,
        target: gradientInput, targetChannels: g.inputChannels, targetCount: g.inputCount, accumulate: accumulate,
        part: part, of: parts)
    }
  }
}

/// The product behind both: target pixel = sum over its taps and source channels.
private func multiply(
  _ pixels: PixelClass, taps: Int, samples: Int, source: UnsafePointer<Float>, sourceChannels: Int, sourceCount: Int,
  zeros: UnsafePointer<Float>, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
  target: UnsafeMutablePointer<Float>, targetChannels: Int, targetCount: Int, accumulate: Bool, part: Int,
  of parts: Int
) {
  let rowSource = RowSource(base: source, sampleBytes: sourceCount * 4, elementShift: 2, zeros: zeros)
  let kernel = MicroKernel(
    taps: pixels.taps, tapCount: pixels.tapCount, depth: sourceChannels, panelStride: taps * sourceChannels * 16)
  let writer = TileWriter(
    pixels: pixels, samples: samples, bias: bias, target: target, channels: targetChannels, accumulate: accumulate)
  let shares = TileShares(pixels: writer.total, channels: targetChannels, part: part, of: parts)
  withScratch { pointers, tile in
    shares.visitBlocks(
      of: rowSource, pixels, total: writer.total, sampleCount: targetCount, channels: targetChannels, pointers: pointers
    ) { pixelTile, panel, panels in
      let weights = packed + panel * kernel.panelStride
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
