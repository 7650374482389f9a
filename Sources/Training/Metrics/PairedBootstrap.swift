// Paired bootstrap (Efron) of the difference of a metric between two models on the same samples.
//
// Samples are drawn with replacement within each class, so every resample has each class as often as the split: a rare class
// never vanishes, and its spread is not mixed with that of its prevalence. Deterministic: draw i of resample r is a function
// of (seed, r, i).

import Data

/// A central confidence interval of a difference between two models.
public struct ConfidenceInterval: Codable, Sendable, Hashable {
  /// The difference on the split itself.
  public let difference: Double
  /// Lower bound.
  public let lower: Double
  /// Upper bound.
  public let upper: Double
  /// Confidence, for example 0.95.
  public let level: Double
}

/// Bootstraps differences of mean average precision.
public struct PairedBootstrap: Sendable {
  /// Resamples drawn.
  public var resampleCount = 1_000
  /// Confidence of the interval.
  public var level = 0.95
  /// Seed of the draws.
  public var seed: UInt64 = 1

  /// Makes the default: 1,000 resamples, 95 %.
  public init() {}

  /// The interval of `candidate`'s mean average precision minus `reference`'s.
  ///
  /// - Parameters:
  ///   - candidate: predictions of the one model.
  ///   - reference: predictions of the other on the same samples.
  ///   - classes: labels of the classes averaged over.
  /// - Returns: `nil` when the split has none of the classes.
  public func meanAveragePrecision(
    of candidate: Predictions, against reference: Predictions, classes: [Int]
  ) -> ConfidenceInterval? {
    precondition(candidate.labels == reference.labels, "a paired comparison needs the same samples")
    let rankings = (candidate.rankings(), reference.rankings())
    func difference(_ weights: [Int32]?) -> Double? {
      ClassificationMetrics.mean(
        classes.compactMap { index in
          guard let left = rankings.0[index].value(weights: weights),
            let right = rankings.1[index].value(weights: weights)
          else { return nil }
          return left - right
        })
    }
    guard let observed = difference(nil) else { return nil }
    let samplesByClass = (0..<candidate.classCount).map { label in
      candidate.labels.indices.filter { candidate.labels[$0] == label }
    }
    var weights = [Int32](repeating: 0, count: candidate.sampleCount)
    let differences = (0..<resampleCount).compactMap { resample -> Double? in
      for index in weights.indices { weights[index] = 0 }
      draw(resample, from: samplesByClass, into: &weights)
      return difference(weights)
    }.sorted()
    let tail = (1 - level) / 2
    return ConfidenceInterval(
      difference: observed, lower: Self.quantile(tail, of: differences),
      upper: Self.quantile(1 - tail, of: differences), level: level)
  }

  private func draw(_ resample: Int, from samplesByClass: [[Int]], into weights: inout [Int32]) {
    for (label, samples) in samplesByClass.enumerated() {
      let random = CounterRandom(seed: seed, .bootstrap, resample, label)
      for draw in samples.indices { weights[samples[random.integer(draw, below: samples.count)]] += 1 }
    }
  }

  /// Linear interpolation between order statistics, as numpy.quantile does by default.
  private static func quantile(_ share: Double, of sorted: [Double]) -> Double {
    let position = share * Double(sorted.count - 1)
    let lower = Int(position)
    let upper = min(lower + 1, sorted.count - 1)
    return sorted[lower] + (sorted[upper] - sorted[lower]) * (position - Double(lower))
  }
}

extension CounterRandom.Purpose {
  /// Resamples of the paired bootstrap.
  static let bootstrap = CounterRandom.Purpose(100)
}
