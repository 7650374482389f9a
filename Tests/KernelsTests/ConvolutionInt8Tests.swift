import Kernels
import Testing

@Suite("Convolution in int8")
struct ConvolutionInt8Tests {
  @Test(
    "sums are exact and scaled with one rounding, for every value of int8", arguments: convolutionShapes.indices,
    [false, true])
  func exact(index: Int, withBias: Bool) {
    let (g, samples) = convolutionShapes[index]
    let (c, k) = (g.inputChannels, g.outputChannels)
    var random = Random(5)
    let input = Buffer(random.integers(samples * g.inputCount, -128...127).map { Int8($0) })
    let weights = Buffer(random.integers(g.weightCount, -128...127).map { Int8($0) })
    let scales = Buffer(random.floats(k).map { abs($0) + 0.1 })
    let bias = Buffer(random.floats(k))
    let result = convolve(g, samples, input, weights, scales, withBias ? bias : nil)
    var sums = Array(repeating: Int32(0), count: samples * g.outputCount)
    forTaps(g, samples: samples) { sample, pixel, inputPixel, tap in
      for n in 0..<k {
        for d in 0..<c {
          sums[sample * g.outputCount + pixel * k + n] +=
            Int32(input.pointer[sample * g.inputCount + inputPixel * c + d])
            * Int32(weights.pointer[weightIndex(g, tap, d, n)])
        }
      }
    }
    let expected = sums.enumerated().map { at, sum in
      withBias
        ? bias.pointer[at % k].addingProduct(Float(sum), scales.pointer[at % k]) : Float(sum) * scales.pointer[at % k]
    }
    #expect(bits(result) == bits(expected))
  }

  @Test("the largest sums neither saturate nor wrap", arguments: [-128, 127])
  func extremes(weight: Int) {
    let g = shape(3, 3, 600, kernel: 3, padding: 1, outputs: 3)
    let input = Buffer(Array(repeating: Int8(-128), count: g.inputCount))
    let weights = Buffer(Array(repeating: Int8(weight), count: g.weightCount))
    let scales = Buffer<Float>(repeating: 1, count: 3)
    let result = convolve(g, 1, input, weights, scales, nil)
    #expect(result[4 * 3] == Float(9 * 600 * -128 * weight))
  }

  @Test("the largest sums by tiles, and those that tiles could not hold, are exact", arguments: [3632, 3648])
  func extremesByTiles(channels: Int) {
    let g = shape(4, 4, channels, kernel: 3, padding: 1, outputs: 16)
    let plan = ConvolutionPlan(g)
    #expect((plan.int8Tiles == nil) == (channels == 3648))
    let input = Buffer(Array(repeating: Int8(-128), count: g.inputCount))
    let weights = Buffer(Array(repeating: Int8(-128), count: g.weightCount))
    let scales = Buffer<Float>(repeating: 1, count: 16)
    let result = convolve(g, 1, input, weights, scales, nil)
    #expect(result[5 * 16] == Float(9 * channels * 128 * 128))
  }

  private func convolve(
    _ g: ConvolutionGeometry, _ samples: Int, _ input: Buffer<Int8>, _ weights: Buffer<Int8>, _ scales: Buffer<Float>,
    _ bias: Buffer<Float>?
  ) -> [Float] {
    let plan = ConvolutionPlan(g)
    return expectSameBits { kernels, parts in
      let packed = Buffer<Int8>(repeating: 85, count: plan.packedInt8ByteCount)
      let output = Buffer<Float>(repeating: .nan, count: samples * g.outputCount)
      let scratch = Buffer<Float>(repeating: .nan, count: kernels.int8ScratchCount(plan))
      for part in 0..<parts {
        kernels.packInt8Weights(plan, weights: weights.constant, into: packed.pointer, part: part, of: parts)
      }
      for part in 0..<parts {
        kernels.convolveInt8(
          plan, samples: samples, input: input.constant, packed: packed.pointer, scales: scales.constant,
          bias: bias?.constant, output: output.pointer, scratch: scratch.pointer, part: part, of: parts)
      }
      #expect(packed.intact && output.intact && scratch.intact)
      return output.values
    }
  }
}
