// Dynamic loss scaling of the FP16 phase (Micikevicius et al. 2018), as a value: (initial state, update).

public import JobSpec

/// The loss scale and how long it has held.
///
/// Every rank sees the same reduced gradient, so every rank makes the same updates.
public struct LossScale: Sendable, Hashable {
  /// The loss is multiplied by this before backward; a power of two, so scaling is exact.
  public private(set) var value: Float
  /// Steps with a finite gradient since the last change.
  public private(set) var goodSteps: Int

  /// A scale that had to shrink below this says that training diverged, not that it overflowed.
  static let minimum: Float = 0x1p-14
  /// Growth stops here: beyond it gradients of single samples overflow Float16 before the sum does.
  static let maximum: Float = 0x1p24

  /// The state before the first step.
  public init(_ spec: JobSpec.Training.LossScale) {
    self.init(value: Float(spec.initial), goodSteps: 0)
  }

  /// A restored state.
  public init(value: Float, goodSteps: Int) {
    self.value = value
    self.goodSteps = goodSteps
  }

  /// Whether the scale has shrunk so far that the gradient itself must be at fault.
  public var isExhausted: Bool { value < Self.minimum }

  /// The state after a step: halves when the reduced gradient was not finite, doubles after `growthInterval` finite ones.
  public mutating func update(gradientIsFinite: Bool, growthInterval: Int) {
    guard gradientIsFinite else {
      value /= 2
      goodSteps = 0
      return
    }
    goodSteps += 1
    if goodSteps >= growthInterval {
      value = min(2 * value, Self.maximum)
      goodSteps = 0
    }
  }
}
