import Kernels
import Testing

/// Twins in double of PyTorch's formulas; the updates run three steps, so that state matters.
@Suite("Optimizer updates")
struct OptimizerTests {
  private let steps = 3

  @Test(
    "SGD follows PyTorch's formula, in place and from one place to another", arguments: [0, 1, 17, 100],
    [(nesterov: false, inPlace: true), (true, true), (true, false)])
  func sgd(count: Int, variant: (nesterov: Bool, inPlace: Bool)) {
    let (nesterov, inPlace) = variant
    var random = Random(26)
    let start = random.floats(count)
    let gradients = (0..<steps).map { _ in Buffer(random.floats(count)) }
    let result = expectSameBits { kernels, parts in
      var (weights, buffer) = (Buffer(start), Buffer<Float>(repeating: 0, count: count))
      var (nextWeights, nextBuffer) = (Buffer(start), Buffer<Float>(repeating: .nan, count: count))
      for gradient in gradients {
        for part in 0..<parts {
          kernels.sgdStep(
            weights.constant, gradient: gradient.constant, momentumBuffer: buffer.constant,
            updatedWeights: inPlace ? weights.pointer : nextWeights.pointer,
            updatedMomentumBuffer: inPlace ? buffer.pointer : nextBuffer.pointer, count: count,
            learningRate: 0.1, momentum: 0.9, nesterov: nesterov, weightDecay: 0.01, gradientScale: 0.5, part: part,
            of: parts)
        }
        if !inPlace { swap(&weights, &nextWeights) }
        if !inPlace { swap(&buffer, &nextBuffer) }
      }
      #expect(weights.intact && buffer.intact && nextWeights.intact && nextBuffer.intact)
      return weights.values
    }
    let expected = (0..<count).map { i in
      var (w, buffer) = (Double(start[i]), 0.0)
      for gradient in gradients {
        let g = Double(gradient.pointer[i]) * 0.5 + 0.01 * w
        buffer = 0.9 * buffer + g
        w -= 0.1 * (nesterov ? g + 0.9 * buffer : buffer)
      }
      return w
    }
    // Values stay below 4; a handful of roundings per step, and the constants' own (0.1, 0.9, 0.01 as floats).
    expectClose(result, expected, within: expected.map { _ in Double(10 * steps) * halfUlp * 4 })
  }

  @Test("AdamW follows PyTorch's formula", arguments: [1, 16, 100])
  func adamW(count: Int) {
    var random = Random(27)
    let start = random.floats(count)
    let gradients = (0..<steps).map { _ in Buffer(random.floats(count)) }
    let corrections = (1...steps).map { step -> (Double, Double) in
      var (power1, power2) = (1.0, 1.0)
      for _ in 0..<step { (power1, power2) = (power1 * 0.9, power2 * 0.999) }
      return (1 - power1, 1 - power2)
    }
    let result = expectSameBits { kernels, parts in
      let weights = Buffer(start)
      let (m, v) = (Buffer<Float>(repeating: 0, count: count), Buffer<Float>(repeating: 0, count: count))
      for (gradient, correction) in zip(gradients, corrections) {
        for part in 0..<parts {
          kernels.adamWStep(
            weights.constant, gradient: gradient.constant, firstMoment: m.constant, secondMoment: v.constant,
            updatedWeights: weights.pointer, updatedFirstMoment: m.pointer, updatedSecondMoment: v.pointer,
            count: count, learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1,
            biasCorrection1: Float(correction.0), biasCorrection2: Float(correction.1), gradientScale: 2, part: part,
            of: parts)
        }
      }
      #expect(weights.intact && m.intact && v.intact)
      return weights.values
    }
    let expected = (0..<count).map { i in
      var (w, m, v) = (Double(start[i]), 0.0, 0.0)
      for (gradient, correction) in zip(gradients, corrections) {
        let g = Double(gradient.pointer[i]) * 2
        w *= 1 - 0.01 * 0.1
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w -= 0.01 / correction.0 * m / ((v.squareRoot() / correction.1.squareRoot()) + 1e-8)
      }
      return w
    }
    // 1 - 0.999 in float is off by 1.3e-5 of itself, which the root halves; steps are about 0.01.
    expectClose(result, expected, within: expected.map { _ in Double(steps) * (0.02 * 1.3e-5 + 8 * halfUlp) })
  }

  @Test("the moving average moves by 1 - decay of the difference", arguments: counts)
  func ema(count: Int) {
    var random = Random(28)
    let (start, weights) = (random.floats(count), Buffer(random.floats(count)))
    let result = expectSameBits { kernels, parts in
      let average = Buffer(start)
      for part in 0..<parts {
        kernels.emaUpdate(
          average.pointer, weights: weights.constant, count: count, decay: 0.75, part: part, of: parts)
      }
      #expect(average.intact)
      return average.values
    }
    #expect(result == (0..<count).map { start[$0].addingProduct(0.25, weights.pointer[$0] - start[$0]) })
  }
}
