// What a step and an epoch report; the same on every rank.

/// One committed step.
public struct StepReport: Sendable, Hashable {
  /// Global steps committed so far, this one included.
  public let step: Int
  /// Epoch, counted from 1.
  public let epoch: Int
  /// Arithmetic of the step.
  public let precision: ExecutionPrecision
  /// Mean loss over the global batch, with label smoothing.
  public let loss: Float
  /// Share of the global batch classified correctly, before the update.
  public let accuracy: Float
  /// Learning rate of the step.
  public let learningRate: Double
  /// Loss scale of the step; 1 outside the FP16 phase.
  public let lossScale: Float
  /// Whether the gradient was not finite and no weight changed (FP16 phase).
  public let isSkipped: Bool
  /// Whether the step ends its epoch.
  public let endsEpoch: Bool
}

/// The evaluation after an epoch.
public struct EpochMetrics: Codable, Sendable, Hashable {
  /// Epoch, counted from 1.
  public let epoch: Int
  /// Global steps committed.
  public let step: Int
  /// Arithmetic of the epoch's steps.
  public let phase: ExecutionPrecision
  /// Whether the moving average of the weights was evaluated, rather than the live weights.
  public let usesWeightAverage: Bool
  /// The model in float.
  public let float: ClassificationMetrics
  /// The model in integers; `nil` before the quantized phase.
  public let int8: ClassificationMetrics?
}
