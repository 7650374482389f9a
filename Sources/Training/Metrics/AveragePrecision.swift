// Average precision of one class against the rest, as scikit-learn's average_precision_score defines it:
// AP = sum over thresholds of (recall_n - recall_{n-1}) * precision_n, without interpolation, equal scores being one threshold.

/// The ranking of one class: samples by descending score, kept so that many resamples can be scored without sorting again.
struct AveragePrecision {
  /// Sample indices by descending score; equal scores by ascending index.
  private let order: [Int32]
  /// Whether the sample at this rank ends a group of equal scores.
  private let endsGroup: [Bool]
  /// Whether the sample at this rank belongs to the class.
  private let isPositive: [Bool]

  /// Ranks samples.
  ///
  /// - Parameters:
  ///   - scores: one finite score per sample; higher means more likely of the class.
  ///   - positives: whether each sample belongs to the class.
  init(scores: [Float], positives: [Bool]) {
    precondition(scores.count == positives.count, "\(scores.count) scores for \(positives.count) samples")
    let order = scores.indices.sorted { left, right in
      scores[left] == scores[right] ? left < right : scores[left] > scores[right]
    }
    self.order = order.map(Int32.init)
    isPositive = order.map { positives[$0] }
    endsGroup = order.indices.map { rank in
      rank + 1 == order.count || scores[order[rank]] != scores[order[rank + 1]]
    }
  }

  /// The average precision, or `nil` when the class has no positive sample (scikit-learn answers 0 with a warning).
  ///
  /// - Parameter weights: how often each sample counts; every sample once when `nil`.
  func value(weights: [Int32]? = nil) -> Double? {
    var positives = 0
    var seen = 0
    var positivesBeforeGroup = 0
    var sum = 0.0
    for rank in order.indices {
      let weight = weights.map { Int($0[Int(order[rank])]) } ?? 1
      seen += weight
      if isPositive[rank] { positives += weight }
      guard endsGroup[rank] else { continue }
      if positives > positivesBeforeGroup {
        sum += Double(positives - positivesBeforeGroup) * (Double(positives) / Double(seen))
      }
      positivesBeforeGroup = positives
    }
    return positives == 0 ? nil : sum / Double(positives)
  }
}
