import Kernels
import Testing

/// Rows of a shard, shards, channels.
private let shapes = [(1, 1, 1), (3, 2, 5), (64, 1, 16), (65, 2, 17), (7, 3, 80), (200, 2, 33)]

@Suite("BatchNorm by shard")
struct NormalizationTests {
  /// A twin in double of everything that a pass computes, with the magnitudes that bound the rounding.
  private struct Twin {
    var mean: [Double] = []
    var variance: [Double] = []

    init(_ x: [Float], _ rows: Int, _ shards: Int, _ channels: Int) {
      for shard in 0..<shards {
        for c in 0..<channels {
          let values = (0..<rows).map { Double(x[(shard * rows + $0) * channels + c]) }
          let mean = values.reduce(0, +) / Double(rows)
          self.mean.append(mean)
          variance.append(values.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(rows))
        }
      }
    }
  }

  private let epsilon: Float = 1e-3

  /// Inputs far from zero, where one-pass formulas fail.
  private func inputs(_ count: Int) -> [Float] {
    var random = Random(11)
    return (0..<count).map { _ in 100 + random.float() }
  }

  private func statistics(_ x: Buffer<Float>, _ rows: Int, _ shards: Int, _ channels: Int) -> (
    mean: Buffer<Float>, variance: Buffer<Float>
  ) {
    let n = shards * channels
    let result = expectSameBits("statistics") { kernels, parts in
      let (mean, variance) = (Buffer<Float>(repeating: .nan, count: n), Buffer<Float>(repeating: .nan, count: n))
      for part in 0..<parts {
        kernels.batchNormStatistics(
          x.constant, rowsPerShard: rows, shards: shards, channels: channels, mean: mean.pointer,
          variance: variance.pointer, part: part, of: parts)
      }
      #expect(mean.intact && variance.intact)
      return mean.values + variance.values
    }
    return (Buffer(Array(result[..<n])), Buffer(Array(result[n...])))
  }

  @Test("mean and biased variance are those of each shard, even far from zero", arguments: shapes)
  func statistics(rows: Int, shards: Int, channels: Int) {
    let x = Buffer(inputs(rows * shards * channels))
    let (mean, variance) = statistics(x, rows, shards, channels)
    let twin = Twin(x.values, rows, shards, channels)
    // 16 + rows / 64 + 3 additions of values up to 101, then a division.
    let additions = Double(rows / 64 + 20)
    expectClose(mean.values, twin.mean, within: twin.mean.map { additions * halfUlp * abs($0) })
    // Differences are exact to the mean's error e, which adds e^2; products and additions add their roundings.
    expectClose(
      variance.values, twin.variance,
      within: twin.variance.map {
        2 * additions * halfUlp * $0 + (additions * halfUlp * 101) * (additions * halfUlp * 101 + 2e-7)
      })
  }

  @Test(
    "forward normalizes, scales, adds the residual and rectifies, with the same bits everywhere", arguments: shapes,
    [(false, false), (true, true), (false, true)])
  func forward(shape: (rows: Int, shards: Int, channels: Int), options: (residual: Bool, relu: Bool)) {
    let (rows, shards, channels) = shape
    let count = rows * shards * channels
    let x = Buffer(inputs(count))
    var random = Random(12)
    let (gamma, beta) = (Buffer(random.floats(channels)), Buffer(random.floats(channels)))
    let residual = Buffer(random.floats(count))
    let (mean, variance) = statistics(x, rows, shards, channels)
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: count)
      for part in 0..<parts {
        kernels.batchNormForward(
          x.constant, rowsPerShard: rows, shards: shards, channels: channels, mean: mean.constant,
          variance: variance.constant, epsilon: epsilon, gamma: gamma.constant, beta: beta.constant,
          residual: options.residual ? residual.constant : nil, relu: options.relu, output: output.pointer, part: part,
          of: parts)
      }
      #expect(output.intact)
      return output.values
    }
    var (expected, bounds) = ([Double](), [Double]())
    for i in 0..<count {
      let (s, c) = (i / channels / rows * channels + i % channels, i % channels)
      let deviation = (Double(variance.pointer[s]) + Double(epsilon)).squareRoot()
      let normalized = (Double(x.pointer[i]) - Double(mean.pointer[s])) / deviation
      let product = normalized * Double(gamma.pointer[c])
      let y = product + Double(beta.pointer[c]) + (options.residual ? Double(residual.pointer[i]) : 0)
      expected.append(options.relu ? max(0, y) : y)
      bounds.append(8 * halfUlp * (abs(product) + abs(Double(beta.pointer[c])) + 1))
    }
    expectClose(result, expected, within: bounds)
  }

  @Test("inference is forward with one set of statistics", arguments: [1, 16, 37])
  func inference(channels: Int) {
    let rows = 21
    var random = Random(13)
    let x = Buffer(random.floats(rows * channels))
    let (mean, variance) = (Buffer(random.floats(channels)), Buffer(random.floats(channels).map { $0 * $0 }))
    let (gamma, beta) = (Buffer(random.floats(channels)), Buffer(random.floats(channels)))
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: x.count)
      for part in 0..<parts {
        kernels.batchNormInference(
          x.constant, rows: rows, channels: channels, mean: mean.constant, variance: variance.constant,
          epsilon: epsilon, gamma: gamma.constant, beta: beta.constant, residual: nil, relu: true,
          output: output.pointer, part: part, of: parts)
      }
      #expect(output.intact)
      return output.values
    }
    let expected = (0..<x.count).map { i -> Double in
      let c = i % channels
      let deviation = (Double(variance.pointer[c]) + Double(epsilon)).squareRoot()
      let normalized = (Double(x.pointer[i]) - Double(mean.pointer[c])) / deviation
      return max(0, normalized * Double(gamma.pointer[c]) + Double(beta.pointer[c]))
    }
    expectClose(result, expected, within: expected.map { 16 * halfUlp * ($0 + 64) })
  }

  @Test("backward gives the gradients of the definition, masked by the activation", arguments: shapes, [false, true])
  func backward(shape: (rows: Int, shards: Int, channels: Int), masked: Bool) {
    let (rows, shards, channels) = shape
    let (count, n) = (rows * shards * channels, shards * channels)
    var random = Random(14)
    let x = Buffer(random.floats(count))
    let (dy, activation, gamma) = (
      Buffer(random.floats(count)), Buffer(random.floats(count)), Buffer(random.floats(channels))
    )
    let (mean, variance) = statistics(x, rows, shards, channels)
    let sums = expectSameBits("sums") { kernels, parts in
      let (sum, product) = (Buffer<Float>(repeating: .nan, count: n), Buffer<Float>(repeating: .nan, count: n))
      for part in 0..<parts {
        kernels.batchNormBackwardReduce(
          x.constant, gradient: dy.constant, activation: masked ? activation.constant : nil, rowsPerShard: rows,
          shards: shards, channels: channels, mean: mean.constant, variance: variance.constant, epsilon: epsilon,
          sumGradient: sum.pointer, sumGradientNormalized: product.pointer, part: part, of: parts)
      }
      #expect(sum.intact && product.intact)
      return sum.values + product.values
    }
    let (sum, product) = (Buffer(Array(sums[..<n])), Buffer(Array(sums[n...])))
    let result = expectSameBits("gradient") { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: count)
      for part in 0..<parts {
        kernels.batchNormBackwardInput(
          x.constant, gradient: dy.constant, activation: masked ? activation.constant : nil, rowsPerShard: rows,
          shards: shards, channels: channels, mean: mean.constant, variance: variance.constant, epsilon: epsilon,
          gamma: gamma.constant, sumGradient: sum.constant, sumGradientNormalized: product.constant,
          gradientInput: output.pointer, part: part, of: parts)
      }
      #expect(output.intact)
      return output.values
    }
    let additions = Double(rows / 64 + 24)
    for s in 0..<n {
      let (shard, c) = (s / channels, s % channels)
      let deviation = (Double(variance.pointer[s]) + Double(epsilon)).squareRoot()
      let at = (0..<rows).map { (shard * rows + $0) * channels + c }
      let gradients = at.map { !masked || activation.pointer[$0] > 0 ? Double(dy.pointer[$0]) : 0 }
      let normalized = at.map { (Double(x.pointer[$0]) - Double(mean.pointer[s])) / deviation }
      let expectedSum = gradients.reduce(0, +)
      let expectedProduct = zip(gradients, normalized).map { $0 * $1 }.reduce(0, +)
      let magnitude = gradients.map(abs).reduce(0, +)
      let productMagnitude = zip(gradients, normalized).map { abs($0 * $1) }.reduce(0, +)
      expectClose([sum.pointer[s]], [expectedSum], within: [additions * halfUlp * magnitude])
      expectClose(
        [product.pointer[s]], [expectedProduct],
        within: [additions * halfUlp * (productMagnitude + magnitude / deviation)])
      for (row, i) in at.enumerated() {
        let slope = Double(gamma.pointer[c]) / deviation
        let difference = gradients[row] - Double(sum.pointer[s]) / Double(rows)
        let correction = normalized[row] * Double(product.pointer[s]) / Double(rows)
        let bound = 12 * halfUlp * abs(slope) * (abs(difference) + abs(correction) + 1 + 1 / deviation)
        expectClose([result[i]], [slope * (difference - correction)], within: [bound])
      }
    }
  }
}
