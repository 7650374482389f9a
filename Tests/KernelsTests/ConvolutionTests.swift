import Kernels
import Testing

/// Shapes that leave tails everywhere: odd channels, 1x1 maps, strides, images that end inside a tile.
let convolutionShapes: [(geometry: ConvolutionGeometry, samples: Int)] = [
  (shape(1, 1, 1, kernel: 1, outputs: 1), 1),
  (shape(1, 1, 40, kernel: 1, outputs: 10), 17),
  (shape(1, 1, 64, kernel: 1, outputs: 48), 16),
  (shape(5, 4, 3, kernel: 3, padding: 1, outputs: 5), 3),
  (shape(9, 9, 1, kernel: 3, padding: 1, outputs: 16), 2),
  (shape(6, 6, 16, kernel: 3, padding: 1, outputs: 17), 2),
  (shape(7, 7, 16, kernel: 3, stride: 2, padding: 1, outputs: 32), 3),
  (shape(8, 6, 15, kernel: 3, stride: 2, padding: 1, outputs: 33), 2),
  (shape(6, 6, 24, kernel: 1, stride: 2, outputs: 40), 3),
  (shape(9, 8, 3, kernel: 7, stride: 2, padding: 3, outputs: 20), 2),
  (shape(2, 2, 40, kernel: 3, padding: 1, outputs: 64), 5),
  (shape(6, 7, 5, kernel: 2, stride: 3, padding: 1, outputs: 10), 4),
  (shape(4, 4, 520, kernel: 1, outputs: 16), 1),
  // By Winograd's algorithm: whole tiles, a row and a column that end inside one, no padding, more than the kernel's reach.
  (shape(6, 6, 16, kernel: 3, padding: 1, outputs: 48), 3),
  (shape(7, 12, 32, kernel: 3, padding: 1, outputs: 16), 2),
  (shape(2, 2, 64, kernel: 3, padding: 1, outputs: 32), 9),
  (shape(10, 8, 16, kernel: 3, outputs: 16), 2),
  (shape(6, 8, 16, kernel: 3, padding: 2, outputs: 32), 2),
  (shape(32, 32, 16, kernel: 3, padding: 1, outputs: 32), 1),
  // More channels and columns than a weight gradient takes together.
  (shape(4, 5, 80, kernel: 3, padding: 1, outputs: 144), 3),
]

func shape(
  _ height: Int, _ width: Int, _ channels: Int, kernel: Int, stride: Int = 1, padding: Int = 0, outputs: Int
) -> ConvolutionGeometry {
  ConvolutionGeometry(
    inputHeight: height, inputWidth: width, inputChannels: channels, kernelHeight: kernel, kernelWidth: kernel,
    stride: stride, padding: padding, outputChannels: outputs)
}

/// Where the weight of a tap, a channel and an output lies: panels of 16 outputs, the last one with the lanes that are left.
func weightIndex(_ g: ConvolutionGeometry, _ tap: Int, _ channel: Int, _ output: Int) -> Int {
  panelIndex(row: tap * g.inputChannels + channel, rows: g.taps * g.inputChannels, output, outputs: g.outputChannels)
}

func panelIndex(row: Int, rows: Int, _ output: Int, outputs: Int) -> Int {
  let first = output / 16 * 16
  return first * rows + row * min(16, outputs - first) + output % 16
}

/// Calls body(sample, output pixel, input pixel, tap) for every product of a pixel and a tap, as the definition has it.
func forTaps(_ g: ConvolutionGeometry, samples: Int, _ body: (Int, Int, Int, Int) -> Void) {
  for sample in 0..<samples {
    for y in 0..<g.outputHeight {
      for x in 0..<g.outputWidth {
        for tapY in 0..<g.kernelHeight {
          for tapX in 0..<g.kernelWidth {
            let (inputY, inputX) = (y * g.stride + tapY - g.padding, x * g.stride + tapX - g.padding)
            guard (0..<g.inputHeight).contains(inputY), (0..<g.inputWidth).contains(inputX) else { continue }
            body(sample, y * g.outputWidth + x, inputY * g.inputWidth + inputX, tapY * g.kernelWidth + tapX)
          }
        }
      }
    }
  }
}

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
