// The question of the field, answered: what did quantization do to each class?

/// Metrics of the same test split under several models, the float one first.
public struct ModelComparison: Codable, Sendable, Hashable {
  /// One model.
  public struct Column: Codable, Sendable, Hashable {
    /// What it is, for example "INT8 QAT".
    public let title: String
    /// Its metrics.
    public let metrics: ClassificationMetrics
    /// Its mean average precision over the rare classes minus the float model's; `nil` for the float model itself and for jobs
    /// that name no rare class.
    public let rareDifference: ConfidenceInterval?
  }

  /// Share of each class in the training split, in label order: what rare means here.
  public let prevalence: [Double]
  /// The models, the float one first.
  public let columns: [Column]

  /// Compares models on one split.
  ///
  /// - Parameters:
  ///   - models: title and predictions of each; the first is what the others are compared with.
  ///   - classNames: names in label order.
  ///   - rareClasses: names of the rare ones.
  ///   - trainCounts: training samples per class.
  public init(
    _ models: [(title: String, predictions: Predictions)], classNames: [String], rareClasses: [String],
    trainCounts: [Int]
  ) {
    let rare = classNames.indices.filter { rareClasses.contains(classNames[$0]) }
    let total = max(1, trainCounts.reduce(0, +))
    prevalence = trainCounts.map { Double($0) / Double(total) }
    columns = models.enumerated().map { index, model in
      Column(
        title: model.title,
        metrics: ClassificationMetrics(model.predictions, classNames: classNames, rareClasses: rareClasses),
        rareDifference: index == 0
          ? nil
          : PairedBootstrap().meanAveragePrecision(
            of: model.predictions, against: models[0].predictions, classes: rare))
    }
  }
}
