// BatchNorm with statistics per virtual shard.

/// BatchNorm over [S, R, C]: S shards of R = `rowsPerShard` rows (pixels), C channels, statistics per shard and
/// channel.
///
/// Variances are biased (divided by R); 1 / sqrt(variance + epsilon) uses the exactly rounded root and quotient.
/// Normalized means xhat = (x - mean) / sqrt(variance + epsilon).
public protocol NormalizationKernels {
  /// Mean and biased variance of each shard and channel, by two passes.
  ///
  /// - Parameters:
  ///   - input: [S, R, C].
  ///   - mean: [S, C].
  ///   - variance: [S, C].
  static func batchNormStatistics(
    _ input: UnsafePointer<Float>, rowsPerShard: Int, shards: Int, channels: Int, mean: UnsafeMutablePointer<Float>,
    variance: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// output = xhat * gamma + beta, + residual if given, then max(0, _) if `relu`.
  ///
  /// - Parameters:
  ///   - input: [S, R, C].
  ///   - mean: [S, C], with `variance`, from `batchNormStatistics`.
  ///   - gamma: [C], with `beta`.
  ///   - residual: [S, R, C] or nil.
  ///   - output: [S, R, C]; may be `input` or `residual`.
  static func batchNormForward(
    _ input: UnsafePointer<Float>, rowsPerShard: Int, shards: Int, channels: Int, mean: UnsafePointer<Float>,
    variance: UnsafePointer<Float>, epsilon: Float, gamma: UnsafePointer<Float>, beta: UnsafePointer<Float>,
    residual: UnsafePointer<Float>?, relu: Bool, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// `batchNormForward` with one set of statistics for all rows, as in evaluation.
  ///
  /// - Parameters:
  ///   - input: [rows, C].
  ///   - mean: [C], with `variance`, `gamma` and `beta`.
  ///   - residual: [rows, C] or nil.
  ///   - output: [rows, C]; may be `input` or `residual`.
  static func batchNormInference(
    _ input: UnsafePointer<Float>, rows: Int, channels: Int, mean: UnsafePointer<Float>,
    variance: UnsafePointer<Float>, epsilon: Float, gamma: UnsafePointer<Float>, beta: UnsafePointer<Float>,
    residual: UnsafePointer<Float>?, relu: Bool, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int)

  /// Sums over each shard's rows of dy and of dy * xhat: the gradients of beta and gamma by shard, and what
  /// `batchNormBackwardInput` needs.
  ///
  /// - Parameters:
  ///   - input: [S, R, C], what the forward pass saw.
  ///   - gradient: [S, R, C], dy.
  ///   - activation: [S, R, C] or nil; the forward output after ReLU. Where it is not > 0, dy counts as 0.
  ///   - sumGradient: [S, C].
  ///   - sumGradientNormalized: [S, C].
  static func batchNormBackwardReduce(
    _ input: UnsafePointer<Float>, gradient: UnsafePointer<Float>, activation: UnsafePointer<Float>?,
    rowsPerShard: Int, shards: Int, channels: Int, mean: UnsafePointer<Float>, variance: UnsafePointer<Float>,
    epsilon: Float, sumGradient: UnsafeMutablePointer<Float>, sumGradientNormalized: UnsafeMutablePointer<Float>,
    part: Int, of parts: Int)

  /// dx = gamma / sqrt(variance + epsilon) * (dy - sumGradient / R - xhat * sumGradientNormalized / R).
  ///
  /// With sums of zero this is the backward pass of frozen statistics.
  /// - Parameters:
  ///   - input: [S, R, C].
  ///   - gradient: [S, R, C], dy.
  ///   - activation: as in `batchNormBackwardReduce`.
  ///   - sumGradient: [S, C], with `sumGradientNormalized`, of that shard itself.
  ///   - gradientInput: [S, R, C]; may be `gradient` or `input`.
  static func batchNormBackwardInput(
    _ input: UnsafePointer<Float>, gradient: UnsafePointer<Float>, activation: UnsafePointer<Float>?,
    rowsPerShard: Int, shards: Int, channels: Int, mean: UnsafePointer<Float>, variance: UnsafePointer<Float>,
    epsilon: Float, gamma: UnsafePointer<Float>, sumGradient: UnsafePointer<Float>,
    sumGradientNormalized: UnsafePointer<Float>, gradientInput: UnsafeMutablePointer<Float>, part: Int, of parts: Int)
}
