import Kernels
import Testing

/// Shapes whose output channels come in pairs.
private let shapes = convolutionShapes.filter { $0.0.outputChannels % 2 == 0 }

@Suite("Gradients of integers: int8 by int16")
struct ConvolutionInt16Tests {
  @Test("sums of the input gradient are exact and scaled by shard", arguments: shapes.indices, [false, true])
  func inputGradient(index: Int, accumulate: Bool) {
    let (g, samplesPerShard) = shapes[index]
    let (c, k) = (g.inputChannels, g.outputChannels)
    let samples = 3 * samplesPerShard
    var random = Random(8)
    let gradient = Buffer(random.integers(samples * g.outputCount, -32_767...32_767).map { Int16($0) })
    // Few bits, so that no sum leaves int32.
    let weights = Buffer(random.integers(g.weightCount, -8...7).map { Int8($0) })
    let scales = Buffer<Float>([0.5, 0.3, 3e-6])
    let existing = random.floats(samples * g.inputCount)
    let result = inputGradient(g, samplesPerShard, gradient, weights, scales, accumulate ? existing : nil)
    var sums = Array(repeating: Int32(0), count: samples * g.inputCount)
    forTaps(g, samples: samples) { sample, pixel, inputPixel, tap in
      for d in 0..<c {
        for n in 0..<k {
          sums[sample * g.inputCount + inputPixel * c + d] +=
            Int32(gradient.pointer[sample * g.outputCount + pixel * k + n])
            * Int32(weights.pointer[weightIndex(g, tap, d, n)])
        }
      }
    }
    let expected = sums.enumerated().map { at, sum in
      let real = Float(sum) * scales.pointer[at / (samplesPerShard * g.inputCount)]
      return accumulate ? existing[at] + real : real
    }
    #expect(bits(result) == bits(expected))
  }

  @Test("the largest gradient that a weight's magnitude allows fills int32 and no more", arguments: [1, -1])
  func extremes(sign: Int) {
    let g = shape(3, 3, 16, kernel: 3, padding: 1, outputs: 600)
    let weights = Buffer(Array(repeating: Int8(-127 * sign), count: g.weightCount))
    let magnitude = 9 * 600 * 127
    let limit = min(32_767, (1 << 31 - 1) / magnitude)
    let gradient = Buffer(Array(repeating: Int16(limit), count: g.outputCount))
    let result = inputGradient(g, 1, gradient, weights, Buffer<Float>([1]), nil)
    #expect(result[4 * 16] == Float(-sign * magnitude * limit))
  }

  private func inputGradient(
    _ g: ConvolutionGeometry, _ samplesPerShard: Int, _ gradient: Buffer<Int16>, _ weights: Buffer<Int8>,
    _ scales: Buffer<Float>, _ existing: [Float]?
  ) -> [Float] {
    let plan = ConvolutionPlan(g)
    let samples = gradient.count / g.outputCount
    return expectSameBits { kernels, parts in
      let packed = Buffer<Int16>(repeating: 85, count: plan.packedInputGradientWeightCount)
      let magnitudes = Buffer<Int32>(repeating: -1, count: g.inputChannels)
      let output = Buffer<Float>(existing ?? Array(repeating: .nan, count: samples * g.inputCount))
      for part in 0..<parts {
        kernels.packInputGradientWeightsInt16(
          plan, weights: weights.constant, into: packed.pointer, magnitudes: magnitudes.pointer, part: part, of: parts)
      }
      for part in 0..<parts {
        kernels.convolveInputGradientInt16(
          plan, samples: samples, samplesPerShard: samplesPerShard, gradientOutput: gradient.constant,
          packed: packed.constant, scales: scales.constant, gradientInput: output.pointer, accumulate: existing != nil,
          part: part, of: parts)
      }
      #expect(packed.intact && magnitudes.intact && output.intact)
      let expected = (0..<g.inputChannels).map { c in
        (0..<g.taps).reduce(into: Int32(0)) { sum, tap in
          for k in 0..<g.outputChannels {
            sum += Int32(weights.pointer[weightIndex(g, tap, c, k)].magnitude)
          }
        }
      }
      #expect(magnitudes.values == expected)
      return output.values
    }
  }

  @Test("sums of the weight gradient are exact in blocks of 256 pixels", arguments: shapes.indices)
  func weightGradient(index: Int) {
    let (g, samplesPerShard) = shapes[index]
    checkWeightGradient(g, samplesPerShard: samplesPerShard, shards: 3)
  }

  @Test(
    "a shard of several blocks, with an odd pixel in the last; blocks of pixels that do not read padding",
    arguments: [8, 128])
  func severalBlocks(channels: Int) {
    let side = channels < 128 ? 19 : 7
    let g = shape(side, side, channels, kernel: 3, padding: 1, outputs: 34)
    checkWeightGradient(g, samplesPerShard: channels < 128 ? 3 : 11, shards: 2)
  }

  private func checkWeightGradient(_ g: ConvolutionGeometry, samplesPerShard: Int, shards: Int) {
    let (c, k) = (g.inputChannels, g.outputChannels)
    let pixels = g.outputHeight * g.outputWidth
    var random = Random(9)
    let input = Buffer(random.integers(shards * samplesPerShard * g.inputCount, -128...127).map { Int8($0) })
    let gradient = Buffer(
      random.integers(shards * samplesPerShard * g.outputCount, -32_767...32_767).map { Int16($0) })
    let scales = Buffer(random.floats(shards * k).map { abs($0) + 0.1 })
    let pieces = (0..<shards).map { ShardPiece(firstLocalShard: $0, shardCount: 1) }
    let result = expectSameBits { kernels, parts in
      weightGradients(kernels, parts, g, samplesPerShard, pieces, input, gradient, scales).flatMap(\.self)
    }
    for shard in 0..<shards {
      let blocks = (samplesPerShard * pixels + 255) / 256
      var sums = Array(repeating: Int32(0), count: blocks * g.weightCount)
      var seen = Array(repeating: 0, count: g.taps)
      let countsPadding = ConvolutionPlan(g).tapPixels == nil
      forTaps(g, samples: samplesPerShard) { sample, pixel, inputPixel, tap in
        let block = (countsPadding ? sample * pixels + pixel : seen[tap]) / 256
        seen[tap] += 1
        let x = input.pointer + (shard * samplesPerShard + sample) * g.inputCount + inputPixel * c
        let dy = gradient.pointer + (shard * samplesPerShard + sample) * g.outputCount + pixel * k
        for d in 0..<c {
          for n in 0..<k { sums[block * g.weightCount + weightIndex(g, tap, d, n)] += Int32(x[d]) * Int32(dy[n]) }
        }
      }
      var expected = [Float](repeating: .nan, count: g.weightCount)
      for (row, n) in (0..<g.taps * c).flatMap({ row in (0..<k).map { (row, $0) } }) {
        let (at, scale) = (weightIndex(g, row / c, row % c, n), scales.pointer[shard * k + n])
        expected[at] = (1..<blocks).reduce(Float(sums[at]) * scale) {
          $0.addingProduct(Float(sums[$1 * g.weightCount + at]), scale)
        }
      }
      #expect(
        bits(Array(result[(shard * g.weightCount)..<((shard + 1) * g.weightCount)])) == bits(expected), "shard \(shard)"
      )
    }
  }

  @Test("a piece's weight gradient is the tree sum of its shards' gradients, to the bit")
  func tree() {
    let g = shape(6, 6, 24, kernel: 3, padding: 1, outputs: 20)
    var random = Random(4)
    let input = Buffer(random.integers(16 * g.inputCount, -128...127).map { Int8($0) })
    let gradient = Buffer(random.integers(16 * g.outputCount, -32_767...32_767).map { Int16($0) })
    let scales = Buffer(random.floats(8 * 20))
    for level in levels {
      let leaves = weightGradients(
        level.kernels, 1, g, 2, (0..<8).map { ShardPiece(firstLocalShard: $0, shardCount: 1) }, input, gradient, scales)
      let whole = weightGradients(
        level.kernels, 1, g, 2, [ShardPiece(firstLocalShard: 0, shardCount: 8)], input, gradient, scales)[0]
      func node(_ left: [Float], _ right: [Float]) -> [Float] { zip(left, right).map { $0 + $1 } }
      let pairs = stride(from: 0, to: 8, by: 2).map { node(leaves[$0], leaves[$0 + 1]) }
      #expect(bits(whole) == bits(node(node(pairs[0], pairs[1]), node(pairs[2], pairs[3]))), "\(level.name)")
    }
  }

  private func weightGradients(
    _ kernels: any KernelSet.Type, _ parts: Int, _ g: ConvolutionGeometry, _ samplesPerShard: Int,
    _ pieces: [ShardPiece], _ input: Buffer<Int8>, _ gradient: Buffer<Int16>, _ scales: Buffer<Float>
  ) -> [[Float]] {
    let plan = ConvolutionPlan(g)
    let outputs = pieces.map { _ in Buffer<Float>(repeating: .nan, count: g.weightCount) }
    let pointers = outputs.map(\.pointer)
    pieces.withUnsafeBufferPointer { pieces in
      for part in 0..<parts {
        kernels.convolveWeightGradientInt16(
          plan, samplesPerShard: samplesPerShard, pieces: pieces, input: input.constant,
          gradientOutput: gradient.constant, scales: scales.constant, gradients: pointers, part: part, of: parts)
      }
    }
    #expect(!outputs.contains { !$0.intact })
    return outputs.map(\.values)
  }

  @Test("a gradient is scaled per channel and rounded to even; one that is not finite shows in its largest magnitude")
  func quantize() {
    let (rows, channels) = (21, 19)
    var random = Random(10)
    let input = Buffer(random.floats(rows * channels))
    let factors = Buffer(random.floats(channels).map { abs($0) + 0.5 })
    let products = input.values.enumerated().map { $1 * factors.pointer[$0 % channels] }
    func largest(_ kernels: any KernelSet.Type, _ parts: Int) -> Float {
      (0..<parts).map {
        kernels.scaledAbsMax(
          input.constant, rows: rows, channels: channels, factors: factors.constant, part: $0, of: parts)
      }.max { $0.bitPattern < $1.bitPattern } ?? -1
    }
    let magnitude = products.map(abs).max()!
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Int16>(repeating: 85, count: rows * channels)
      for part in 0..<parts {
        kernels.quantizeGradient(
          input.constant, rows: rows, channels: channels, factors: factors.constant, inverseScale: 32_767 / magnitude,
          output: output.pointer, part: part, of: parts)
      }
      #expect(output.intact)
      return [largest(kernels, parts)] + output.values.map { Float($0) }
    }
    #expect(result[0] == magnitude)
    #expect(result.dropFirst().elementsEqual(products.map { ($0 * (32_767 / magnitude)).rounded(.toNearestOrEven) }))
    input.pointer[7] = -.infinity
    for level in levels { #expect(largest(level.kernels, 2) == .infinity) }
    input.pointer[200] = -.nan
    for level in levels { #expect(largest(level.kernels, 2).isNaN) }
  }
}
