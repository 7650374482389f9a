// Metrics against scikit-learn and PyTorch, on scores with ties and a class without samples.

import Testing

@testable import Training

@Suite struct MetricsTests {
  struct Golden: Decodable {
    let logits: [Float]
    let labels: [Int32]
    let loss: Double
    let accuracy: Double
    let averagePrecision: [Double]
    let precision: [Double]
    let recall: [Double]
    let confusion: [[Int]]
  }

  static func golden() throws -> (Golden, Predictions) {
    let golden = try LoopGolden.decode("metrics", as: Golden.self)
    return (golden, Predictions(logits: golden.logits, labels: golden.labels, classCount: 4))
  }

  @Test("accuracy, confusion, precision, recall and average precision agree with scikit-learn")
  func againstScikitLearn() throws {
    let (golden, predictions) = try Self.golden()
    let metrics = ClassificationMetrics(
      predictions, classNames: ["a", "b", "c", "absent"], rareClasses: ["b", "absent"])
    #expect(metrics.confusion == golden.confusion)
    #expect(abs(metrics.accuracy - golden.accuracy) < 1e-12)
    // Each sample's loss is a float32 of magnitude below 8.
    #expect(abs(metrics.loss - golden.loss) < 8 * 0x1p-22)
    for index in 0..<3 {
      let found = metrics.classes[index]
      #expect(abs((found.precision ?? 0) - golden.precision[index]) < 1e-12)
      #expect(abs((found.recall ?? -1) - golden.recall[index]) < 1e-12)
      let ranking = AveragePrecision(
        scores: stride(from: index, to: golden.logits.count, by: 4).map { golden.logits[$0] },
        positives: golden.labels.map { $0 == index })
      #expect(abs((ranking.value() ?? -1) - golden.averagePrecision[index]) < 1e-12)
      #expect(found.averagePrecision == predictions.rankings()[index].value())
    }
    #expect(metrics.rareMeanAveragePrecision == metrics.classes[1].averagePrecision)
  }

  @Test("a class without samples has no recall and no average precision, and is named")
  func absentClass() throws {
    let (_, predictions) = try Self.golden()
    let metrics = ClassificationMetrics(predictions, classNames: ["a", "b", "c", "absent"])
    #expect(metrics.absentClasses == ["absent"])
    #expect(metrics.classes[3].recall == nil && metrics.classes[3].averagePrecision == nil)
    let present = metrics.classes.prefix(3).compactMap(\.averagePrecision)
    #expect(metrics.meanAveragePrecision == present.reduce(0, +) / 3)
    #expect(metrics.rareMeanAveragePrecision == nil)
  }

  @Test("equal scores are one threshold")
  func ties() {
    // Threshold 0.9: precision 1, recall 1/2. Threshold 0.5: 2 of 4, recall 1. AP = 1/2 * 1 + 1/2 * 1/2.
    let ranking = AveragePrecision(scores: [0.5, 0.9, 0.5, 0.5], positives: [true, true, false, false])
    #expect(ranking.value() == 0.75)
    #expect(AveragePrecision(scores: [], positives: []).value() == nil)
    #expect(AveragePrecision(scores: [1], positives: [false]).value() == nil)
    #expect(AveragePrecision(scores: [1], positives: [true]).value() == 1)
  }

  @Test("a sample counted twice is two samples")
  func weights() {
    let once = AveragePrecision(scores: [0.1, 0.9, 0.5], positives: [true, false, true])
    let twice = AveragePrecision(scores: [0.1, 0.9, 0.9, 0.5], positives: [true, false, false, true])
    #expect(once.value(weights: [1, 2, 1]) == twice.value())
  }

  @Test("a model compared with itself differs by nothing, with a better one by a positive interval")
  func bootstrap() throws {
    let (golden, predictions) = try Self.golden()
    var bootstrap = PairedBootstrap()
    bootstrap.resampleCount = 100
    let same = try #require(bootstrap.meanAveragePrecision(of: predictions, against: predictions, classes: [0, 1]))
    #expect(same.difference == 0 && same.lower == 0 && same.upper == 0)
    let better = Predictions(
      logits: golden.logits.enumerated().map { $0 % 4 == Int(golden.labels[$0 / 4]) ? $1 + 3 : $1 },
      labels: golden.labels, classCount: 4)
    let interval = try #require(bootstrap.meanAveragePrecision(of: better, against: predictions, classes: [0, 1]))
    #expect(interval.lower > 0 && interval.lower < interval.difference && interval.difference < interval.upper)
    #expect(interval == bootstrap.meanAveragePrecision(of: better, against: predictions, classes: [0, 1]))
    #expect(bootstrap.meanAveragePrecision(of: better, against: predictions, classes: [3]) == nil)
  }
}
