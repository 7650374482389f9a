// From a histogram of magnitudes to the largest magnitude that integers shall represent (amax).
// The percentile, MSE and entropy rules are pytorch-quantization's (= modelopt's), on power-of-two bins.

public import Graph

/// How post-training calibration chooses amax.
public enum CalibrationMethod: Sendable, Hashable {
  /// The largest magnitude seen: nothing is clipped.
  case max
  /// The smallest bin edge that at least this percentage of values, 0 < p <= 100, do not exceed.
  case percentile(Double)
  /// The bin center that minimizes the mean squared error of fake-quantized bin centers.
  case meanSquaredError
  /// The bin edge that minimizes the Kullback-Leibler divergence between clipped values and their quantized image.
  case entropy

  /// The magnitude that maps to the range's limit; never above the largest magnitude seen.
  /// - Throws: `QuantizationError.noData` for an empty histogram; `.invalidArgument` for a percentile out of range.
  public func absMax(of histogram: AbsHistogram, range: IntegerRange = .int8) throws -> Float {
    guard histogram.usedBinCount > 0 else {
      throw QuantizationError(
        .noData, "nothing was observed, \(histogram.nonFiniteCount) values were not finite",
        hint: "calibrate with at least one image")
    }
    let chosen: Double =
      switch self {
      case .max: Double(histogram.maximum)
      case .percentile(let percent): try Self.percentileEdge(percent, of: histogram)
      case .meanSquaredError: Self.leastSquaresCenter(of: histogram, limit: Double(range.limit))
      case .entropy: EntropyCalibrator.edge(of: histogram, levels: Int(range.limit) + 1)
      }
    return Float(Swift.min(chosen, Double(histogram.maximum)))
  }

  /// First candidate of the MSE and entropy searches, in bins; pytorch-quantization's `start_bin`.
  static let firstCandidate = 128

  /// The upper edge of the bin in which the cumulative count reaches the percentage.
  ///
  /// pytorch-quantization returns that bin's lower edge, so there fewer than p percent are covered: one bin less.
  private static func percentileEdge(_ percent: Double, of histogram: AbsHistogram) throws -> Double {
    guard percent > 0, percent <= 100 else {
      throw QuantizationError(.invalidArgument, "percentile \(percent) is outside 0 < p <= 100")
    }
    let needed = Double(histogram.totalCount) * (percent / 100)
    var covered: UInt64 = 0
    for (bin, count) in histogram.counts.enumerated() {
      covered += count
      if Double(covered) >= needed { return Double(bin + 1) * histogram.binWidth }
    }
    return Double(histogram.maximum)
  }

  /// The center c minimizing sum of count * (fakeQuantize(center, c / limit) - center)^2; the first of equals.
  private static func leastSquaresCenter(of histogram: AbsHistogram, limit: Double) -> Double {
    let used = histogram.usedBinCount
    let center = { (bin: Int) in (Double(bin) + 0.5) * histogram.binWidth }
    guard used > firstCandidate else { return Double(histogram.maximum) }
    let filled = (0..<used).filter { histogram.counts[$0] > 0 }.map {
      (center: center($0), count: Double(histogram.counts[$0]))
    }
    var best = (error: Double.infinity, center: Double(histogram.maximum))
    for candidate in firstCandidate..<used {
      let scale = center(candidate) / limit
      var error = 0.0
      for bin in filled {
        let level = Swift.min((bin.center / scale).rounded(.toNearestOrEven), limit)
        let difference = level * scale - bin.center
        error += bin.count * difference * difference
      }
      if error < best.error { best = (error, center(candidate)) }
    }
    return best.center
  }
}
