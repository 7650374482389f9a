// Observers: what an activation's range has been, as (initial state, update) pairs of values.
// Per-step minima and maxima are reduced over all shards first; then every worker makes the same single update.
// Differences from torch.ao, by design: the update runs once per global step, not per forward call; the scale of step t
// comes from the state after step t-1; a batch that is not finite is passed over.

public import Graph

/// What an observer remembers; what a checkpoint holds of it.
public struct ObserverState: Sendable, Hashable {
  /// Smallest value, or its moving average; 0 before the first batch.
  public var minimum: Float
  /// Largest value, or its moving average; 0 before the first batch.
  public var maximum: Float
  /// Batches that were taken up; 0 means the scale is not known yet.
  public var batchCount: UInt64

  /// The state before the first batch.
  public static let initial = ObserverState(minimum: 0, maximum: 0, batchCount: 0)

  /// Makes a state, from a checkpoint for instance.
  public init(minimum: Float, maximum: Float, batchCount: UInt64) {
    self.minimum = minimum
    self.maximum = maximum
    self.batchCount = batchCount
  }

  /// Whether a batch has been seen.
  public var isInitialized: Bool { batchCount > 0 }

  /// The largest magnitude, zero included: max(-min(minimum, 0), max(maximum, 0)).
  public var absMax: Float { max(-min(minimum, 0), max(maximum, 0)) }

  /// The scale for a symmetric range, see `QuantizationParameters.scale(forAbsMax:limit:)`.
  public func scale(for range: IntegerRange) -> Float {
    QuantizationParameters.scale(forAbsMax: absMax, limit: range.limit)
  }
}

/// How an activation's range is tracked during training.
public enum Observer: Sendable, Hashable {
  /// The extremes of everything seen.
  case minMax
  /// The first batch sets the extremes, then v += constant * (batch - v); torch's constant is 0.01.
  case movingAverageMinMax(constant: Float)

  /// The state before the first batch.
  public var initialState: ObserverState { .initial }

  /// The state after one batch.
  ///
  /// Allocates nothing; the arithmetic is written out, so every machine gets the same bits.
  /// - Parameters:
  ///   - state: what was observed before.
  ///   - minimum: smallest value of the global batch.
  ///   - maximum: largest value of the global batch.
  /// - Returns: the state as it was when a value is not finite, or minimum exceeds maximum (nothing observed).
  public func updated(_ state: ObserverState, minimum: Float, maximum: Float) -> ObserverState {
    guard minimum.isFinite, maximum.isFinite, minimum <= maximum else { return state }
    var next = state
    next.batchCount += 1
    guard state.isInitialized else {
      next.minimum = minimum
      next.maximum = maximum
      return next
    }
    switch self {
    case .minMax:
      next.minimum = min(state.minimum, minimum)
      next.maximum = max(state.maximum, maximum)
    case .movingAverageMinMax(let constant):
      next.minimum = state.minimum + constant * (minimum - state.minimum)
      next.maximum = state.maximum + constant * (maximum - state.maximum)
    }
    return next
  }
}
