import Kernels
import Testing

private let poolings = [
  PoolingGeometry(inputHeight: 4, inputWidth: 4, channels: 1, window: 2, stride: 2, padding: 0),
  PoolingGeometry(inputHeight: 7, inputWidth: 6, channels: 5, window: 3, stride: 2, padding: 1),
  PoolingGeometry(inputHeight: 8, inputWidth: 9, channels: 17, window: 3, stride: 2, padding: 1),
  PoolingGeometry(inputHeight: 5, inputWidth: 5, channels: 16, window: 3, stride: 1, padding: 1),
  PoolingGeometry(inputHeight: 6, inputWidth: 6, channels: 3, window: 2, stride: 3, padding: 0),
]

@Suite("Pooling")
struct PoolingTests {
  @Test("maxima and where they are equal the definition, and their gradient goes there", arguments: poolings)
  func maxPool(g: PoolingGeometry) {
    let samples = 3
    let (inputCount, outputCount) = (
      samples * g.inputHeight * g.inputWidth * g.channels, samples * g.outputHeight * g.outputWidth * g.channels
    )
    var random = Random(19)
    // Few distinct values, so that ties happen; all negative, so that padding of zero would show.
    let input = Buffer(random.integers(inputCount, 0...5).map { Float($0) - 9 })
    let gradient = Buffer(random.floats(outputCount))
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: outputCount)
      let argmax = Buffer<UInt8>(repeating: 255, count: outputCount)
      let back = Buffer<Float>(repeating: .nan, count: inputCount)
      for part in 0..<parts {
        kernels.maxPoolForward(
          g, samples: samples, input: input.constant, output: output.pointer, argmax: argmax.pointer, part: part,
          of: parts)
      }
      for part in 0..<parts {
        kernels.maxPoolBackward(
          g, samples: samples, gradientOutput: gradient.constant, argmax: argmax.constant, gradientInput: back.pointer,
          part: part, of: parts)
      }
      #expect(output.intact && argmax.intact && back.intact)
      return output.values + argmax.values.map { Float($0) } + back.values
    }
    var expected = Array(repeating: -Float.infinity, count: outputCount)
    var places = Array(repeating: Float(0), count: outputCount)
    var back = Array(repeating: Float(0), count: inputCount)
    for at in 0..<outputCount {
      let (c, x) = (at % g.channels, at / g.channels % g.outputWidth)
      let (y, sample) = (
        at / g.channels / g.outputWidth % g.outputHeight, at / g.channels / g.outputWidth / g.outputHeight
      )
      var best = 0
      for place in 0..<(g.window * g.window) {
        let (inputY, inputX) = (
          y * g.stride - g.padding + place / g.window, x * g.stride - g.padding + place % g.window
        )
        guard (0..<g.inputHeight).contains(inputY), (0..<g.inputWidth).contains(inputX) else { continue }
        let source = ((sample * g.inputHeight + inputY) * g.inputWidth + inputX) * g.channels + c
        if input.pointer[source] > expected[at] {
          expected[at] = input.pointer[source]
          places[at] = Float(place)
          best = source
        }
      }
      back[best] += gradient.pointer[at]
    }
    #expect(Array(result[..<outputCount]) == expected)
    #expect(Array(result[outputCount..<(2 * outputCount)]) == places)
    #expect(Array(result[(2 * outputCount)...]) == back)
  }

  @Test("a window of NaN gives NaN, one of minus infinity gives a valid place")
  func notANumber() {
    let g = PoolingGeometry(inputHeight: 2, inputWidth: 4, channels: 1, window: 2, stride: 2, padding: 0)
    let low = -Float.infinity
    let input = Buffer<Float>([1, .nan, low, low, 5, 2, low, low])
    for level in levels {
      let (output, argmax) = (Buffer<Float>(repeating: 0, count: 2), Buffer<UInt8>(repeating: 9, count: 2))
      level.kernels.maxPoolForward(
        g, samples: 1, input: input.constant, output: output.pointer, argmax: argmax.pointer, part: 0, of: 1)
      #expect(output.pointer[0].isNaN)
      #expect(output.pointer[1] == low && argmax.pointer[1] == 0)
    }
  }

  @Test("the global average and its gradient", arguments: [1, 5, 16, 40], [1, 4, 49])
  func average(channels: Int, pixels: Int) {
    let samples = 3
    var random = Random(20)
    let input = Buffer(random.floats(samples * pixels * channels))
    let gradient = Buffer(random.floats(samples * channels))
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: samples * channels)
      let back = Buffer<Float>(repeating: .nan, count: input.count)
      for part in 0..<parts {
        kernels.globalAveragePoolForward(
          input.constant, samples: samples, pixels: pixels, channels: channels, output: output.pointer, part: part,
          of: parts)
        kernels.globalAveragePoolBackward(
          gradient.constant, samples: samples, pixels: pixels, channels: channels, gradientInput: back.pointer,
          part: part, of: parts)
      }
      #expect(output.intact && back.intact)
      return output.values + back.values
    }
    for at in 0..<(samples * channels) {
      var sum: Float = 0
      for pixel in 0..<pixels { sum += input.pointer[(at / channels * pixels + pixel) * channels + at % channels] }
      #expect(result[at] == sum / Float(pixels))
    }
    for at in 0..<input.count {
      let source = at / channels / pixels * channels + at % channels
      #expect(result[samples * channels + at] == gradient.pointer[source] / Float(pixels))
    }
  }

  @Test("nearest upsampling repeats pixels and its gradient sums them", arguments: [1, 2, 3], [1, 17])
  func upsample(factor: Int, channels: Int) {
    let (samples, height, width) = (2, 3, 4)
    let large = samples * height * width * factor * factor * channels
    var random = Random(21)
    let input = Buffer(random.floats(samples * height * width * channels))
    let gradient = Buffer(random.integers(large, -9...9).map { Float($0) })
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: large)
      let back = Buffer<Float>(repeating: .nan, count: input.count)
      for part in 0..<parts {
        kernels.upsampleNearestForward(
          input.constant, samples: samples, height: height, width: width, channels: channels, factor: factor,
          output: output.pointer, part: part, of: parts)
        kernels.upsampleNearestBackward(
          gradient.constant, samples: samples, height: height, width: width, channels: channels, factor: factor,
          gradientInput: back.pointer, part: part, of: parts)
      }
      #expect(output.intact && back.intact)
      return output.values + back.values
    }
    var back = Array(repeating: Float(0), count: input.count)
    for at in 0..<large {
      let (c, x) = (at % channels, at / channels % (width * factor))
      let line = at / channels / (width * factor)
      let source = (line / factor * width + x / factor) * channels + c
      #expect(result[at] == input.pointer[source])
      back[source] += gradient.pointer[at]
    }
    #expect(Array(result[large...]) == back)
  }
}
