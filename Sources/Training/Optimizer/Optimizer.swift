// Optimizers over the flat parameter vector: a rule is (initial moments, update), composed with the decay of its segments.

public import Graph
public import JobSpec
import Kernels

/// The update rule of a job.
///
/// Weight decay applies to weights of convolutions and linear layers only, never to BatchNorm and biases.
public struct Optimizer: Sendable {
  /// Neighbouring parameters with the same decay.
  private struct Segment: Sendable {
    var range: Range<Int>
    let weightDecay: Float
  }

  /// What one update needs besides the vectors.
  public struct Step: Sendable {
    /// Learning rate.
    public var learningRate: Double
    /// Updates made so far, this one included; skipped steps do not count.
    public var update: Int
    /// Undoes the loss scale.
    public var gradientScale: Float

    /// Describes one update.
    public init(learningRate: Double, update: Int, gradientScale: Float = 1) {
      self.learningRate = learningRate
      self.update = update
      self.gradientScale = gradientScale
    }
  }

  private let spec: JobSpec.Training.Optimizer
  private let segments: [Segment]
  private let elementCount: Int

  /// Makes the rule for vectors of a layout.
  public init(_ spec: JobSpec.Training.Optimizer, layout: ParameterLayout) {
    self.spec = spec
    elementCount = layout.parameterElementCount
    var segments: [Segment] = []
    for (index, entry) in layout.parameters.enumerated() {
      let end = index + 1 < layout.parameters.count ? layout.parameters[index + 1].offset : elementCount
      let weightDecay = entry.parameter.hasWeightDecay ? Float(spec.weightDecay) : 0
      if segments.last?.weightDecay == weightDecay {
        segments[segments.count - 1].range = segments[segments.count - 1].range.lowerBound..<end
      } else {
        segments.append(Segment(range: entry.offset..<end, weightDecay: weightDecay))
      }
    }
    self.segments = segments
  }

  /// Names of the moments kept per parameter, in the order in which `update` takes them.
  public var momentNames: [String] {
    switch spec.method {
    case .sgd: ["momentum"]
    case .adamw: ["momentum", "variance"]
    }
  }

  /// The moments before the first update: zeros.
  public func initialMoments() -> [FloatVector] {
    momentNames.map { _ in FloatVector(count: elementCount) }
  }

  /// The share of the vectors that one of several threads is to update.
  public func share(part: Int, of parts: Int) -> Range<Int> {
    let lines = (elementCount + 15) / 16
    return min(elementCount, lines * part / parts * 16)..<min(elementCount, lines * (part + 1) / parts * 16)
  }

  /// Updates a range of weights and moments; ranges may be updated by different threads.
  ///
  /// - Parameters:
  ///   - range: elements of the flat parameter vector.
  ///   - current: the weights, and the moments from `initialMoments`.
  ///   - gradient: the reduced gradient of the range, times the loss scale.
  ///   - next: receives what they become; may be `current`.
  ///   - step: learning rate and count.
  public func update(
    _ range: Range<Int>, of current: StateVectors, gradient: UnsafePointer<Float>, into next: StateVectors, step: Step
  ) {
    let learningRate = Float(step.learningRate)
    // Not `for segment in segments`: without optimization the array's iterator allocates at every turn.
    for index in segments.indices {
      let segment = segments[index]
      let part = segment.range.clamped(to: range)
      guard !part.isEmpty else { continue }
      let offset = part.lowerBound
      let gradient = gradient + (offset - range.lowerBound)
      switch spec.method {
      case .sgd:
        kernels.sgdStep(
          current.weights.pointer + offset, gradient: gradient,
          momentumBuffer: current.moments[0].pointer + offset, updatedWeights: next.weights.pointer + offset,
          updatedMomentumBuffer: next.moments[0].pointer + offset, count: part.count, learningRate: learningRate,
          momentum: Float(spec.momentum), nesterov: spec.nesterov, weightDecay: segment.weightDecay,
          gradientScale: step.gradientScale, part: 0, of: 1)
      case .adamw:
        kernels.adamWStep(
          current.weights.pointer + offset, gradient: gradient,
          firstMoment: current.moments[0].pointer + offset, secondMoment: current.moments[1].pointer + offset,
          updatedWeights: next.weights.pointer + offset, updatedFirstMoment: next.moments[0].pointer + offset,
          updatedSecondMoment: next.moments[1].pointer + offset, count: part.count, learningRate: learningRate,
          beta1: Float(spec.beta1), beta2: Float(spec.beta2), epsilon: Float(spec.epsilon),
          weightDecay: segment.weightDecay, biasCorrection1: Float(1 - Self.power(spec.beta1, step.update)),
          biasCorrection2: Float(1 - Self.power(spec.beta2, step.update)), gradientScale: step.gradientScale,
          part: 0, of: 1)
      }
    }
  }

  /// base^exponent by repeated squaring: the same bits on every machine, where libm's `pow` may differ.
  static func power(_ base: Double, _ exponent: Int) -> Double {
    var result = 1.0
    var square = base
    var rest = exponent
    while rest > 0 {
      if rest & 1 == 1 { result *= square }
      square *= square
      rest >>= 1
    }
    return result
  }
}
