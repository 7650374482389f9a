// What a classifier did on the test split, over all classes and per class.

/// Metrics of one model on one split; the same bits on every rank, because they come from the same gathered logits.
public struct ClassificationMetrics: Codable, Sendable, Hashable {
  /// One class against the rest.
  public struct PerClass: Codable, Sendable, Hashable {
    /// Class name.
    public let name: String
    /// Samples of the class.
    public let sampleCount: Int
    /// Share of the samples predicted as this class that are of it; `nil` when none was predicted.
    public let precision: Double?
    /// Share of the samples of this class that were predicted as it; `nil` when the split has none.
    public let recall: Double?
    /// Average precision of the class probability as a score; `nil` when the split has no sample of the class.
    public let averagePrecision: Double?
  }

  /// Samples of the split.
  public let sampleCount: Int
  /// Mean cross-entropy without label smoothing, natural logarithm.
  public let loss: Double
  /// Share of samples whose highest logit is their class's; of equal logits the first counts.
  public let accuracy: Double
  /// Classes in label order.
  public let classes: [PerClass]
  /// Mean of the average precisions of the classes that the split has.
  public let meanAveragePrecision: Double?
  /// The same over the classes that the job calls rare; `nil` when it names none.
  public let rareMeanAveragePrecision: Double?
  /// Rows are true classes, columns predicted ones.
  public let confusion: [[Int]]

  /// Names of classes that have no sample in the split, and so no recall and no average precision.
  public var absentClasses: [String] { classes.filter { $0.sampleCount == 0 }.map(\.name) }

  /// Computes the metrics.
  ///
  /// - Parameters:
  ///   - predictions: logits and labels of the split.
  ///   - classNames: names in label order.
  ///   - rareClasses: names of the classes whose mean average precision is reported apart.
  public init(_ predictions: Predictions, classNames: [String], rareClasses: [String] = []) {
    let classCount = classNames.count
    precondition(classCount == predictions.classCount, "\(classCount) names for \(predictions.classCount) logits")
    var confusion = [[Int]](repeating: [Int](repeating: 0, count: classCount), count: classCount)
    for (label, predicted) in zip(predictions.labels, predictions.predictedLabels) {
      confusion[Int(label)][predicted] += 1
    }
    let correct = (0..<classCount).reduce(0) { $0 + confusion[$1][$1] }
    let rankings = predictions.rankings()
    self.init(
      sampleCount: predictions.sampleCount, loss: predictions.meanLoss(),
      accuracy: Self.ratio(correct, predictions.sampleCount) ?? 0,
      classes: classNames.enumerated().map { index, name in
        let sampleCount = confusion[index].reduce(0, +)
        let predicted = confusion.reduce(0) { $0 + $1[index] }
        return PerClass(
          name: name, sampleCount: sampleCount, precision: Self.ratio(confusion[index][index], predicted),
          recall: Self.ratio(confusion[index][index], sampleCount), averagePrecision: rankings[index].value())
      },
      rareClasses: rareClasses, confusion: confusion)
  }

  private init(
    sampleCount: Int, loss: Double, accuracy: Double, classes: [PerClass], rareClasses: [String], confusion: [[Int]]
  ) {
    self.sampleCount = sampleCount
    self.loss = loss
    self.accuracy = accuracy
    self.classes = classes
    self.confusion = confusion
    meanAveragePrecision = Self.mean(classes.compactMap(\.averagePrecision))
    rareMeanAveragePrecision = Self.mean(
      classes.filter { rareClasses.contains($0.name) }.compactMap(\.averagePrecision))
  }

  static func ratio(_ part: Int, _ whole: Int) -> Double? { whole == 0 ? nil : Double(part) / Double(whole) }

  static func mean(_ values: [Double]) -> Double? {
    values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
  }
}
