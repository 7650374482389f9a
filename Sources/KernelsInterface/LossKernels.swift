// Softmax and cross-entropy.

/// Losses over [B, K] logits: B samples, K classes.
public protocol LossKernels {
  /// Cross-entropy of softmax with label smoothing (PyTorch's definition): target = (1 - smoothing) * onehot +
  /// smoothing / K.
  ///
  /// - Parameters:
  ///   - logits: [B, K].
  ///   - labels: [B], each in 0..<K.
  ///   - smoothing: 0..<1.
  ///   - gradientScale: multiplies the gradient (1 / global batch, times the loss scale); losses are not scaled.
  ///   - losses: [B], one loss per sample.
  ///   - gradient: [B, K], (softmax - target) * gradientScale; nil in evaluation.
  static func softmaxCrossEntropy(
    _ logits: UnsafePointer<Float>, samples: Int, classes: Int, labels: UnsafePointer<Int32>, smoothing: Float,
    gradientScale: Float, losses: UnsafeMutablePointer<Float>, gradient: UnsafeMutablePointer<Float>?, part: Int,
    of parts: Int)

  /// probabilities = softmax of each row.
  ///
  /// - Parameters:
  ///   - logits: [B, K].
  ///   - probabilities: [B, K]; may be `logits`.
  static func softmax(
    _ logits: UnsafePointer<Float>, samples: Int, classes: Int, probabilities: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int)
}
