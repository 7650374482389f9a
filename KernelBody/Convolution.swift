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
    let weights = WeightPanels(
      packed: packed, taps: g.taps, sourceChannels: g.inputChannels, targetChannels: g.outputChannels,
      areTurned: false)
    if let tiles = plan.forwardTiles {
      return WinogradProduct(
        plan: plan, table: tiles.pointee, source: input, sourceCount: g.inputCount, weights: weights, bias: bias,
        target: output, accumulate: false
      ).run(samples: samples, scratch: scratch, part: part, of: parts)
    }
    multiply(
      ClassTiles(classes: plan.forward, samples: samples),
      RowSource(base: input, sampleBytes: g.inputCount * 4, elementShift: 2, zeros: plan.zeros),
      PanelSource(panels: weights, turned: nil),
      TileWriter(bias: bias, target: output, channels: g.outputChannels, accumulate: false),
      targetCount: g.outputCount, part: part, of: parts)
  }

  package static func convolveInputGradient(
    _ plan: ConvolutionPlan, samples: Int, gradientOutput: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    gradientInput: UnsafeMutablePointer<Float>, accumulate: Bool, scratch: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    let g = plan.geometry
    let weights = WeightPanels(
      packed: packed, taps: g.taps, sourceChannels: g.outputChannels, targetChannels: g.inputChannels,
      areTurned: plan.sharesPackedWeights)
    if let tiles = plan.inputGradientTiles {
      return WinogradProduct(
        plan: plan, table: tiles.pointee, source: gradientOutput, sourceCount: g.outputCount, weights: weights,
        bias: nil, target: gradientInput, accumulate: accumulate
      ).run(samples: samples, scratch: scratch, part: part, of: parts)
    }
    multiply(
      ClassTiles(classes: plan.inputGradient, samples: samples),
      RowSource(base: gradientOutput, sampleBytes: g.outputCount * 4, elementShift: 2, zeros: plan.zeros),
      PanelSource(panels: weights, turned: weights.areTurned ? scratch : nil),
      TileWriter(bias: nil, target: gradientInput, channels: g.inputChannels, accumulate: accumulate),
      targetCount: g.inputCount, part: part, of: parts)
  }
}

/// Where the panels of a product come from.
private struct PanelSource {
  let panels: WeightPanels
  /// Room for two panels that must be turned; nil where they are read as they lie.
  ///
  /// They are turned into the second-level cache when their turn comes.
  let turned: UnsafeMutablePointer<Float>?

  /// Where a panel begins that is ready, and those after it.
  @inline(__always)
  func start(_ panel: Int) -> UnsafePointer<Float> {
    turned.map { UnsafePointer($0) } ?? panels.packed + panel * panels.panelStride
  }

  /// Gets panels ready for tiles of some classes.
  @inline(__always)
  func begin(_ panel: Int, _ count: Int, _ classes: UnsafeBufferPointer<PixelClass>, _ kinds: Range<Int>) {
    guard let turned else { return }
    var isRead = InlineArray<256, Bool>(repeating: false)
    for kind in kinds {
      for index in 0..<classes[kind].tapCount { isRead[Int(classes[kind].taps[index])] = true }
    }
    for index in 0..<count {
      for tap in 0..<panels.taps where isRead[tap] {
        turn(panel + index, tap, into: turned + index * panels.panelStride)
      }
    }
  }

  /// Writes target channels [panel * 16, panel * 16 + 16) of a tap: [source channels][16].
  @inline(__always)
  private func turn(_ panel: Int, _ tap: Int, into target: UnsafeMutablePointer<Float>) {
    for source in 0..<panels.sourceChannels / 16 {
      temper_transpose(
        panels.block(source: source, tap: tap, panel: panel), 16,
        target + (tap * panels.sourceChannels + source * 16) * 16)
    }
  }
}

/// The product behind both: target pixel = sum over its taps and source channels.
private func multiply(
  _ tiles: ClassTiles, _ source: RowSource, _ weights: PanelSource, _ writer: TileWriter, targetCount: Int, part: Int,
  of parts: Int
) {
  let shares = TileShares(tileCount: tiles.count, channels: writer.channels, part: part, of: parts)
  withScratch { pointers, tile in
    shares.visitBlocks(
      of: source, tiles, sampleCount: targetCount, channels: writer.channels, pointers: pointers,
      beginPanels: { panel, panels, kinds in weights.begin(panel, panels, tiles.classes, kinds) },
      readAhead: { weights.panels.readPanelsAhead($0, $1, share: $2, of: $3) }
    ) { pixelTile, panel, panels in
      let kernel = MicroKernel(
        taps: pixelTile.pixels.taps, tapCount: pixelTile.pixels.tapCount, depth: weights.panels.sourceChannels,
        panelStride: weights.panels.panelStride)
      let weights = weights.start(panel)
      let direct = writer.directTarget(pixelTile, panel: panel, panels: panels)
      let (result, stride) = (direct ?? tile, direct == nil ? 32 : writer.channels)
      if panels == 2 {
        kernel.run32(pixelTile.rows, weights, result, stride: stride)
      } else {
        kernel.run16(pixelTile.rows, weights, result, stride: stride)
      }
      if direct == nil { writer.write(tile, pixelTile, panel: panel, panels: panels) }
    }
  }
}
