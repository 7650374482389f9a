import Kernels
import Testing

@Suite("Convolution in float")
struct ConvolutionTests {
  @Test("forward equals the definition, with the same bits everywhere", arguments: convolutionShapes.indices)
  func forward(index: Int) {
    let (g, samples) = convolutionShapes[index]
    let (c, k) = (g.inputChannels, g.outputChannels)
    var random = Random(1)
    let input = Buffer(random.floats(samples * g.inputCount))
    let weights = Buffer(random.floats(g.weightCount))
    let bias = Buffer(random.floats(k))
    let plan = ConvolutionPlan(g)
    let result = expectSameBits { kernels, parts in
      let packed = Buffer<Float>(repeating: .nan, count: plan.packedWeightCount)
      let output = Buffer<Float>(repeating: .nan, count: samples * g.outputCount)
      let scratch = Buffer<Float>(repeating: .nan, count: plan.scratchCount)
      for part in 0..<parts {
        kernels.packWeights(plan, weights: weights.constant, into: packed.pointer, part: part, of: parts)
      }
      for part in 0..<parts {
        kernels.convolveForward(
          plan, samples: samples, input: input.constant, packed: packed.constant, bias: bias.constant,
          output: output.pointer, scratch: scratch.pointer, part: part, of: parts)
      }
      #expect(packed.intact && output.intact && scratch.intact)
      return output.values
    }
    var (expected, magnitude) = (twin(samples * g.outputCount), twin(samples * g.outputCount))
    forTaps(g, samples: samples) { sample, pixel, inputPixel, tap in
      for n in 0..<k {
        let at = sample * g.outputCount + pixel * k + n
        for d in 0..<c {
          let product =
            Double(input.pointer[sample * g.inputCount + inputPixel * c + d])
            * Double(weights.pointer[weightIndex(g, tap, d, n)])
          expected[at] += product
          magnitude[at] += abs(product)
        }
      }
    }
    for at in expected.indices {
      expected[at] += Double(bias.pointer[at % k])
      magnitude[at] += abs(Double(bias.pointer[at % k]))
    }
    expectClose(result, expected, within: magnitude.map { Double(g.taps * c + 1) * halfUlp * $0 })
  }

  @Test(
    "the input gradient equals the transposed definition, stored or accumulated", arguments: convolutionShapes.indices,
    [false, true])
  func inputGradient(index: Int, accumulate: Bool) {
    let (g, samples) = convolutionShapes[index]
    let (c, k) = (g.inputChannels, g.outputChannels)
    var random = Random(2)
    let gradient = Buffer(random.floats(samples * g.outputCount))
    let weights = Buffer(random.floats(g.weightCount))
    let before = random.floats(samples * g.inputCount)
    let plan = ConvolutionPlan(g)
    let result = expectSameBits { kernels, parts in
      let shares = plan.sharesPackedWeights
      let packed = Buffer<Float>(
        repeating: .nan, count: shares ? plan.packedWeightCount : plan.packedInputGradientWeightCount)
      let output = accumulate ? Buffer(before) : Buffer<Float>(repeating: .nan, count: before.count)
      let scratch = Buffer<Float>(repeating: .nan, count: plan.scratchCount)
      for part in 0..<parts {
        if shares {
          kernels.packWeights(plan, weights: weights.constant, into: packed.pointer, part: part, of: parts)
        } else {
          kernels.packInputGradientWeights(plan, weights: weights.constant, into: packed.pointer, part: part, of: parts)
        }
      }
      for part in 0..<parts {
        kernels.convolveInputGradient(
          plan, samples: samples, gradientOutput: gradient.constant, packed: packed.constant,
          gradientInput: output.pointer, accumulate: accumulate, scratch: scratch.pointer, part: part, of: parts)
      }
      #expect(packed.intact && output.intact && scratch.intact)
      return output.values
    }
    var (expected, magnitude) = (twin(before.count), twin(before.count))
    forTaps(g, samples: samples) { sample, pixel, inputPixel, tap in
      for d in 0..<c {
        let at = sample * g.inputCount + inputPixel * c + d
        for n in 0..<k {
          let product =
            Double(gradient.pointer[sample * g.outputCount + pixel * k + n])
            * Double(weights.pointer[weightIndex(g, tap, d, n)])
          expected[at] += product
          magnitude[at] += abs(product)
        }
      }
    }
    if accumulate {
      for at in expected.indices {
        expected[at] += Double(before[at])
        magnitude[at] += abs(Double(before[at]))
      }
    }
    expectClose(result, expected, within: magnitude.map { Double(g.taps * k + 1) * halfUlp * $0 })
  }

  @Test("the weight gradient of every piece equals the definition", arguments: convolutionShapes.indices)
  func weightGradient(index: Int) {
    let (g, samplesPerShard) = convolutionShapes[index]
    let (c, k) = (g.inputChannels, g.outputChannels)
    let pieces = [
      ShardPiece(firstLocalShard: 0, shardCount: 1), ShardPiece(firstLocalShard: 1, shardCount: 2),
    ]
    let samples = 3 * samplesPerShard
    var random = Random(3)
    let input = Buffer(random.floats(samples * g.inputCount))
    let gradient = Buffer(random.floats(samples * g.outputCount))
    let plan = ConvolutionPlan(g)
    let result = expectSameBits { kernels, parts in
      weightGradients(kernels, parts, plan, samplesPerShard, pieces, input, gradient).flatMap(\.self)
    }
    for (number, piece) in pieces.enumerated() {
      var (expected, magnitude) = (twin(g.weightCount), twin(g.weightCount))
      let first = piece.firstLocalShard * samplesPerShard
      forTaps(g, samples: piece.shardCount * samplesPerShard) { sample, pixel, inputPixel, tap in
        for d in 0..<c {
          for n in 0..<k {
            let product =
              Double(input.pointer[(first + sample) * g.inputCount + inputPixel * c + d])
              * Double(gradient.pointer[(first + sample) * g.outputCount + pixel * k + n])
            expected[weightIndex(g, tap, d, n)] += product
            magnitude[weightIndex(g, tap, d, n)] += abs(product)
          }
        }
      }
      let additions = samplesPerShard * g.outputHeight * g.outputWidth + 6
      expectClose(
        Array(result[(number * g.weightCount)..<((number + 1) * g.weightCount)]), expected,
        within: magnitude.map { Double(additions) * halfUlp * $0 }, "piece \(number)")
    }
  }

  @Test(
    "a piece's weight gradient is the tree sum of its shards' gradients, to the bit",
    arguments: [
      shape(6, 6, 24, kernel: 3, padding: 1, outputs: 20), shape(6, 6, 32, kernel: 3, padding: 1, outputs: 48),
    ],
    [0, 64] as [Float])
  func weightGradientTree(g: ConvolutionGeometry, halfScale: Float) {
    let plan = ConvolutionPlan(g)
    var random = Random(4)
    let input = Buffer(random.floats(16 * g.inputCount))
    let gradient = Buffer(random.floats(16 * g.outputCount))
    func kept(_ value: Float) -> Float { halfScale == 0 ? value : Float(Float16(value * halfScale)) / halfScale }
    for level in levels {
      let leaves = weightGradients(
        level.kernels, 1, plan, 2, (0..<8).map { ShardPiece(firstLocalShard: $0, shardCount: 1) }, input, gradient
      ).map { $0.map(kept) }
      let piece = ShardPiece(firstLocalShard: 0, shardCount: 8, halfScale: halfScale)
      let whole = weightGradients(level.kernels, 1, plan, 2, [piece], input, gradient)[0]
      func node(_ left: [Float], _ right: [Float]) -> [Float] { zip(left, right).map { kept($0 + $1) } }
      let pairs = stride(from: 0, to: 8, by: 2).map { node(leaves[$0], leaves[$0 + 1]) }
      let tree = node(node(pairs[0], pairs[1]), node(pairs[2], pairs[3]))
      let isSame = bits(whole) == bits(tree)
      #expect(isSame, "\(level.name)")
    }
  }

  private func twin(_ count: Int) -> [Double] { Array(repeating: 0, count: count) }

  private func weightGradients(
    _ kernels: any KernelSet.Type, _ parts: Int, _ plan: ConvolutionPlan, _ samplesPerShard: Int,
    _ pieces: [ShardPiece], _ input: Buffer<Float>, _ gradient: Buffer<Float>
  ) -> [[Float]] {
    let outputs = pieces.map { _ in Buffer<Float>(repeating: .nan, count: plan.geometry.weightCount) }
    let pointers = outputs.map(\.pointer)
    let scratch = Buffer<Float>(
      repeating: .nan, count: plan.weightGradientScratchCount(samplesPerShard: samplesPerShard, pieces: pieces))
    pieces.withUnsafeBufferPointer { pieces in
      for part in 0..<parts {
        kernels.convolveWeightGradient(
          plan, samplesPerShard: samplesPerShard, pieces: pieces, input: input.constant,
          gradientOutput: gradient.constant, gradients: pointers, scratch: scratch.pointer, part: part, of: parts)
      }
    }
    #expect(scratch.intact && !outputs.contains { !$0.intact })
    return outputs.map(\.values)
  }
}
