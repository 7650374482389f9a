// Logits and labels of a split: what every metric is computed from.

import Kernels

/// One model's logits on one split, in sample order.
public struct Predictions: Sendable, Hashable {
  /// Label of each sample.
  public let labels: [Int32]
  /// [samples, classes] logits.
  public let logits: [Float]
  /// Number of classes.
  public let classCount: Int

  /// Pairs logits with labels.
  ///
  /// - Parameters:
  ///   - logits: [samples, classCount].
  ///   - labels: one per sample, each in 0..<classCount.
  ///   - classCount: at least 1.
  public init(logits: [Float], labels: [Int32], classCount: Int) {
    precondition(
      logits.count == labels.count * classCount,
      "\(logits.count) logits for \(labels.count) samples of \(classCount) classes")
    self.labels = labels
    self.logits = logits
    self.classCount = classCount
  }

  /// Number of samples.
  public var sampleCount: Int { labels.count }

  /// The class of the highest logit of each sample; the first of equal ones.
  public var predictedLabels: [Int] {
    (0..<sampleCount).map { sample in
      let row = sample * classCount
      return (1..<classCount).reduce(0) { logits[row + $1] > logits[row + $0] ? $1 : $0 }
    }
  }

  /// Softmax of each row, [samples, classes].
  public func probabilities() -> [Float] {
    [Float](unsafeUninitializedCapacity: logits.count) { target, count in
      logits.withUnsafeBufferPointer { source in
        guard let input = source.baseAddress, let output = target.baseAddress else { return }
        kernels.softmax(input, samples: sampleCount, classes: classCount, probabilities: output, part: 0, of: 1)
      }
      count = logits.count
    }
  }

  /// Mean cross-entropy without smoothing, summed in sample order; 0 without samples.
  func meanLoss() -> Double {
    let losses = [Float](unsafeUninitializedCapacity: sampleCount) { target, count in
      logits.withUnsafeBufferPointer { logits in
        labels.withUnsafeBufferPointer { labels in
          guard let input = logits.baseAddress, let label = labels.baseAddress, let output = target.baseAddress
          else { return }
          kernels.softmaxCrossEntropy(
            input, samples: sampleCount, classes: classCount, labels: label, smoothing: 0, gradientScale: 1,
            losses: output, gradient: nil, part: 0, of: 1)
        }
      }
      count = sampleCount
    }
    return ClassificationMetrics.mean(losses.map(Double.init)) ?? 0
  }

  /// One ranking per class by its probability.
  func rankings() -> [AveragePrecision] {
    let probabilities = probabilities()
    return (0..<classCount).map { index in
      AveragePrecision(
        scores: stride(from: index, to: probabilities.count, by: classCount).map { probabilities[$0] },
        positives: labels.map { $0 == index })
    }
  }
}
