// The large part of a training state: what an update reads and writes.

/// Weights and moments, of one length.
public struct StateVectors: Sendable {
  /// The flat parameter vector.
  public let weights: FloatVector
  /// The optimizer's moments, in the order of `Optimizer.momentNames`.
  public let moments: [FloatVector]

  /// Names vectors of one length.
  public init(weights: FloatVector, moments: [FloatVector]) {
    precondition(moments.allSatisfy { $0.count == weights.count }, "moments are as many as weights")
    self.weights = weights
    self.moments = moments
  }

  /// All of them.
  var all: [FloatVector] { [weights] + moments }

  /// Takes over the values of others of the same lengths.
  func copy(from other: StateVectors) {
    for (target, source) in zip(all, other.all) { target.copy(from: source) }
  }
}
