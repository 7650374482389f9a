// Histograms and calibrators: exactness of merging, and the chosen range against pytorch-quantization's rules.

import Graph
import Testing

@testable import Quantization

@Suite("Calibration")
struct CalibrationTests {
  /// Values with a long tail, a function of the index alone.
  private func values(_ count: Int, seed: UInt64, scale: Float) -> [Float] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let unit = Float(Int64(bitPattern: state) >> 40) * 0x1p-23
      return unit * unit * unit * scale
    }
  }

  @Test("merging in any order, or counting everything at once, gives the same histogram")
  func mergeOrder() {
    let parts = [
      values(300, seed: 1, scale: 0.01), values(200, seed: 2, scale: 50), values(500, seed: 3, scale: 1), [0, 0], [],
      values(100, seed: 4, scale: 1e-20),
    ]
    var whole = AbsHistogram()
    whole.add(parts.flatMap { $0 })
    let histograms = parts.map { part in
      var histogram = AbsHistogram()
      histogram.add(part)
      return histogram
    }
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 1, 4, 0, 5, 2]] {
      var merged = AbsHistogram()
      for index in order { merged.merge(histograms[index]) }
      #expect(merged == whole)
      var added = AbsHistogram()
      for index in order { added.add(parts[index]) }
      #expect(added == whole)
    }
    var pair = histograms[1]
    pair.merge(histograms[2])
    var left = histograms[0]
    left.merge(pair)
    var right = histograms[0]
    right.merge(histograms[1])
    right.merge(histograms[2])
    #expect(left == right)
    #expect(whole.totalCount == 1_102)
  }

  @Test("bin i counts i * width <= |x| < (i + 1) * width, and at least half of the bins are in use")
  func bins() {
    var histogram = AbsHistogram()
    histogram.add([0.5, -0.25, 1, -1.75, 1.9999, .nan, .infinity])
    #expect(histogram.binWidth == 0x1p-10 && histogram.maximum == 1.9999)
    #expect(histogram.counts[512] == 1 && histogram.counts[256] == 1 && histogram.counts[1024] == 1)
    #expect(histogram.counts[1792] == 1 && histogram.counts[2047] == 1)
    #expect(histogram.totalCount == 5 && histogram.nonFiniteCount == 2)
    for scale: Float in [1, 1.5, 2, 3e-8, 1e30, .greatestFiniteMagnitude] {
      var histogram = AbsHistogram()
      histogram.add([scale])
      #expect((1025...2048).contains(histogram.usedBinCount), "\(scale)")
    }
  }

  @Test("entropy, MSE and percentile choose what pytorch-quantization's rules choose on the same histogram")
  func againstReference() throws {
    for golden in try Golden.load().calibration {
      // Bin centers reproduce the histogram; the maximum is given its own value within the last bin.
      let width = Float(sign: .plus, exponent: golden.exponent, significand: 1)
      var histogram = AbsHistogram()
      for pair in golden.counts {
        histogram.add([Float](repeating: (Float(pair[0]) + 0.5) * width, count: pair[1]))
      }
      #expect(histogram.exponent == golden.exponent)
      let maximum = Double(histogram.maximum)
      let entropy = try CalibrationMethod.entropy.absMax(of: histogram)
      #expect(entropy == Float(min(golden.entropy, maximum)), "\(golden.name)")
      #expect(try CalibrationMethod.meanSquaredError.absMax(of: histogram) == Float(golden.mse), "\(golden.name)")
      #expect(
        try CalibrationMethod.percentile(99).absMax(of: histogram) == Float(min(golden.percentile99, maximum)))
      #expect(
        try CalibrationMethod.percentile(99.99).absMax(of: histogram) == Float(min(golden.percentile9999, maximum)))
    }
  }

  @Test("of equal divergences the widest range wins")
  func entropyTie() throws {
    // Two filled bins: keeping the first alone or both costs nothing, divergence 0 either way.
    var histogram = AbsHistogram()
    histogram.add([1, 1.5])
    #expect(try CalibrationMethod.entropy.absMax(of: histogram) == 1.5)
  }

  @Test("max and percentile 100 clip nothing; no method goes beyond the largest value")
  func bounds() throws {
    var histogram = AbsHistogram()
    histogram.add(values(4_000, seed: 9, scale: 3))
    #expect(try CalibrationMethod.max.absMax(of: histogram) == histogram.maximum)
    #expect(try CalibrationMethod.percentile(100).absMax(of: histogram) == histogram.maximum)
    for method in [CalibrationMethod.entropy, .meanSquaredError, .percentile(99.9)] {
      let absMax = try method.absMax(of: histogram)
      #expect(absMax > 0 && absMax <= histogram.maximum)
    }
  }

  @Test("a tensor of zeros has range 0, an empty histogram and a wrong percentile are refused")
  func degenerate() throws {
    var zeros = AbsHistogram()
    zeros.add([0, -0.0])
    for method in [CalibrationMethod.max, .entropy, .meanSquaredError, .percentile(50)] {
      #expect(try method.absMax(of: zeros) == 0)
      #expect { try method.absMax(of: AbsHistogram()) } throws: { ($0 as? QuantizationError)?.code == .noData }
    }
    for percent in [0, -1, 100.1, Double.nan] {
      #expect { try CalibrationMethod.percentile(percent).absMax(of: zeros) } throws: {
        "\($0)".contains("percentile \(percent)")
      }
    }
  }

  @Test("the logarithm is accurate to 2 units in the last place")
  func logarithm() {
    // log(2^k) = k log 2; log(x y) = log x + log y; log of 10 and e from tables.
    for exponent in [-1_000, -1, 0, 1, 50, 1_000] {
      let value = Double(sign: .plus, exponent: exponent, significand: 1)
      #expect(NaturalLogarithm.of(value) == Double(exponent) * 0.693_147_180_559_945_3)
    }
    #expect(abs(NaturalLogarithm.of(10) - 2.302_585_092_994_046) <= 2 * 2.302_585_092_994_046.ulp)
    #expect(abs(NaturalLogarithm.of(2.718_281_828_459_045) - 1) <= 2 * 1.0.ulp)
    #expect(abs(NaturalLogarithm.of(1.4142) + NaturalLogarithm.of(1 / 1.4142)) <= 2 * 0.35.ulp)
  }
}
