// The exponential moving average of weights and of BatchNorm statistics, as (initial state, update).

import Kernels

/// Averages of the weights and running statistics; what evaluation and export use when the job switches them on.
public struct WeightAverage: Sendable {
  /// Average of the flat parameter vector.
  public let weights: FloatVector
  /// Average of the running statistics.
  public let statistics: FloatVector
  private let decay: Double

  /// The state before the first step: the initial weights themselves.
  ///
  /// - Parameters:
  ///   - weights: the flat parameter vector.
  ///   - statistics: the running statistics.
  ///   - decay: weight of the old average at each step, 0 < decay < 1.
  public init(weights: FloatVector, statistics: FloatVector, decay: Double) {
    self.weights = FloatVector(count: weights.count)
    self.statistics = FloatVector(count: statistics.count)
    self.weights.copy(from: weights)
    self.statistics.copy(from: statistics)
    self.decay = decay
  }

  /// The decay of one update: min(decay, (1 + n) / (10 + n)) after n updates, so that the first weights, which are random, do
  /// not linger (TensorFlow's ExponentialMovingAverage with num_updates).
  func decay(afterUpdates updates: Int) -> Float {
    Float(min(decay, Double(1 + updates) / Double(10 + updates)))
  }

  /// Moves the average of the weights, one share of it.
  func updateWeights(from current: FloatVector, updates: Int, part: Int, of parts: Int) {
    kernels.emaUpdate(
      weights.pointer, weights: current.pointer, count: current.count, decay: decay(afterUpdates: updates),
      part: part, of: parts)
  }

  /// Moves the average of the running statistics.
  func updateStatistics(from current: FloatVector, updates: Int) {
    kernels.emaUpdate(
      statistics.pointer, weights: current.pointer, count: current.count, decay: decay(afterUpdates: updates),
      part: 0, of: 1)
  }

  /// Takes over the values of another average of the same model.
  func copy(from other: WeightAverage) {
    weights.copy(from: other.weights)
    statistics.copy(from: other.statistics)
  }
}
