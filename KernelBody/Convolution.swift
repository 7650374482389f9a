// Forward convolution and input gradient as indirect matrix products.

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
      for row in 0..<rows {
        store(load(weights + row * outputs + panel * 16, lanes), packed + (panel * rows + row) * 16)
      }
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
        let source = weights + (tap * channels + panel * 16) * outputs
        let target = packed + (panel * taps + tap) * outputs * 16
        for k in 0..<outputs {
          for lane in 0..<16 { target[k * 16 + lane] = lane < lanes ? source[lane * outputs + k] : 0 }
        }
      }
    }
  }

  package static func convolveForward(
    _ plan: ConvolutionPlan, samples: Int, input: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    bias: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    let g = plan.geometry
    multiply(
      plan.forward, taps: g.taps, samples: samples, source: input, sourceChannels: g.inputChannels,
      sourceCount: g.inputCount, packed: packed, bias: bias, target: output, targetChannels: g.outputChannels,
      targetCount: g.outputCount, accumulate: false, part: part, of: parts)
  }

  package static func convolveInputGradient(
    _ plan: ConvolutionPlan, samples: Int, gradientOutput: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    gradientInput: UnsafeMutablePointer<Float>, accumulate: Bool, part: Int, of parts: Int
  ) {
    let g = plan.geometry
    for index in 0..<plan.inputGradientCount {
      multiply(
        plan.inputGradient[index], taps: g.taps, samples: samples, source: gradientOutput,
        sourceChannels: g.outputChannels, sourceCount: g.outputCount, packed: packed, bias: nil,
        target: gradientInput, targetChannels: g.inputChannels, targetCount: g.inputCount, accumulate: accumulate,
        part: part, of: parts)
    }
  }
}

private func multiply(
  _ pixels: PixelClass, taps: Int, samples: Int, source: UnsafePointer<Float>, sourceChannels: Int, sourceCount: Int,
  packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?, target: UnsafeMutablePointer<Float>,
  targetChannels: Int, targetCount: Int, accumulate: Bool, part: Int, of parts: Int
) {
  for flat in share(samples * pixels.pixelCount, alignment: 8, part: part, of: parts) {
    let (sample, pixel) = (flat / pixels.pixelCount, flat % pixels.pixelCount)
    let output = target + sample * targetCount + Int(pixels.targets[pixel]) * targetChannels
    forVectors(0..<targetChannels) { k, lanes in
      var sum = Floats.zero
      for index in 0..<pixels.tapCount {
        let offset = Int(pixels.sources[index * pixels.rowStride + pixel])
        if offset < 0 { continue }
        let row = source + sample * sourceCount + offset
        let weights = packed + (k / 16 * taps + Int(pixels.taps[index])) * sourceChannels * 16
        for c in 0..<sourceChannels { sum = fma(Floats(repeating: row[c]), load(weights + c * 16), sum) }
      }
      if let bias { sum += load(bias + k, lanes) }
      store(accumulate ? load(output + k, lanes) + sum : sum, output + k, lanes)
    }
  }
}
