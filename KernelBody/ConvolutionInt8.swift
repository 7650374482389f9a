// Forward convolution of int8 by int8 with exact int32 sums.

package import KernelsInterface

extension Body {
  package static func packInt8Weights(
    _ plan: ConvolutionPlan, weights: UnsafePointer<Int8>, into packed: UnsafeMutableRawPointer, part: Int,
    of parts: Int
  ) {
    let g = plan.geometry
    let rows = g.taps * g.inputChannels
    let target = packed.assumingMemoryBound(to: Int8.self)
    for panel in share((g.outputChannels + 15) / 16, part: part, of: parts) {
      for row in 0..<rows {
        for lane in 0..<16 {
          let k = panel * 16 + lane
          target[(panel * rows + row) * 16 + lane] = k < g.outputChannels ? weights[row * g.outputChannels + k] : 0
        }
      }
    }
  }

  package static func convolveInt8(
    _ plan: ConvolutionPlan, samples: Int, input: UnsafePointer<Int8>, packed: UnsafeRawPointer,
    scales: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    let g = plan.geometry
    let (channels, outputs, pixels) = (g.inputChannels, g.outputChannels, plan.forward)
    let weights = packed.assumingMemoryBound(to: Int8.self)
    for flat in share(samples * pixels.pixelCount, alignment: 8, part: part, of: parts) {
      let (sample, pixel) = (flat / pixels.pixelCount, flat % pixels.pixelCount)
      for k in 0..<outputs {
        var sum: Int32 = 0
        for tap in 0..<g.taps {
          let offset = Int(pixels.sources[tap * pixels.rowStride + pixel])
          if offset < 0 { continue }
          let panel = weights + ((k / 16 * g.taps + tap) * channels) * 16 + k % 16
          for c in 0..<channels {
            sum &+= Int32(input[sample * g.inputCount + offset + c]) &* Int32(panel[c * 16])
          }
        }
        let real = Float(sum)
        output[flat * outputs + k] = bias.map { $0[k].addingProduct(real, scales[k]) } ?? real * scales[k]
      }
    }
  }
}
