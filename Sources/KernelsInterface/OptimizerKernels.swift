// Optimizer updates over flat float vectors.

/// Updates of [count] weights, elementwise; what is updated may lie where it was read.
public protocol OptimizerKernels {
  /// SGD as PyTorch has it: g = gradient * gradientScale + weightDecay * w; buffer = momentum * buffer + g;
  /// step = nesterov ? g + momentum * buffer : buffer; w = w - learningRate * step.
  ///
  /// A first step with a buffer of zeros equals PyTorch's (which copies g), so there is no flag for it.
  /// - Parameters:
  ///   - weights: [count].
  ///   - gradient: [count].
  ///   - momentumBuffer: [count]; zeros before the first step.
  ///   - updatedWeights: [count], with `updatedMomentumBuffer`.
  ///   - gradientScale: undoes the loss scale; 1 for none.
  static func sgdStep(
    _ weights: UnsafePointer<Float>, gradient: UnsafePointer<Float>, momentumBuffer: UnsafePointer<Float>,
    updatedWeights: UnsafeMutablePointer<Float>, updatedMomentumBuffer: UnsafeMutablePointer<Float>, count: Int,
    learningRate: Float, momentum: Float, nesterov: Bool, weightDecay: Float, gradientScale: Float, part: Int,
    of parts: Int)

  /// AdamW (Loshchilov and Hutter) as PyTorch has it: w = w * (1 - learningRate * weightDecay); m, v updated by g and
  /// g^2; w = w - learningRate / biasCorrection1 * m / (sqrt(v) / sqrt(biasCorrection2) + epsilon).
  ///
  /// - Parameters:
  ///   - firstMoment: [count], m, with `secondMoment` v; zeros before the first step.
  ///   - updatedWeights: [count], with `updatedFirstMoment` and `updatedSecondMoment`.
  ///   - biasCorrection1: 1 - beta1^step, computed by the caller in double.
  ///   - biasCorrection2: 1 - beta2^step.
  static func adamWStep(
    _ weights: UnsafePointer<Float>, gradient: UnsafePointer<Float>, firstMoment: UnsafePointer<Float>,
    secondMoment: UnsafePointer<Float>, updatedWeights: UnsafeMutablePointer<Float>,
    updatedFirstMoment: UnsafeMutablePointer<Float>, updatedSecondMoment: UnsafeMutablePointer<Float>, count: Int,
    learningRate: Float, beta1: Float, beta2: Float, epsilon: Float, weightDecay: Float, biasCorrection1: Float,
    biasCorrection2: Float, gradientScale: Float, part: Int, of parts: Int)

  /// average = average + (1 - decay) * (weights - average).
  static func emaUpdate(
    _ average: UnsafeMutablePointer<Float>, weights: UnsafePointer<Float>, count: Int, decay: Float, part: Int,
    of parts: Int)
}
