// The reducer of a job with one member: it holds all shards, so its single piece is the whole tree.

import Kernels

/// Reduces over one member: the partial sum of its one piece is the result.
public final class LocalReducer: Reducer {
  private let plan: ReductionPlan
  private var piece: UnsafeMutablePointer<Float>?
  private var result: UnsafeMutablePointer<Float>?
  private var gradientIsFinite = true
  private var finishing: ((Range<Int>, UnsafePointer<Float>) -> Void)?

  /// Makes a reducer for vectors of `plan`'s layout.
  public init(plan: ReductionPlan) {
    self.plan = plan
  }

  /// Opens a step; a member that holds all shards has exactly one piece.
  public func begin(
    step: UInt64, pieces: [UnsafeMutablePointer<Float>], result: UnsafeMutablePointer<Float>,
    maxima: UnsafeMutablePointer<Float>, halfScale: Float = 0,
    finishing: ((Range<Int>, UnsafePointer<Float>) -> Void)? = nil
  ) {
    precondition(pieces.count == 1, "a single member holds one piece, the whole tree; got \(pieces.count)")
    piece = pieces[0]
    self.result = result
    gradientIsFinite = true
    self.finishing = finishing
  }

  /// The bucket is the result, copied unless it lies there already; gradients are checked while they are in a cache.
  public func submit(bucket: Int) {
    guard let piece, let result else { preconditionFailure("submit(bucket: \(bucket)) outside a step") }
    let range = plan.buckets[bucket]
    if piece != result { (result + range.lowerBound).update(from: piece + range.lowerBound, count: range.count) }
    guard plan.parameterRange.contains(range.lowerBound) else { return }
    let isFinite = kernels.allFinite(result + range.lowerBound, count: range.count, part: 0, of: 1)
    gradientIsFinite = gradientIsFinite && isFinite
    finishing?(range, result + range.lowerBound)
  }

  /// Own maxima are the maxima.
  public func submitMaxima() {}

  /// Closes the step; says whether the gradient is finite.
  public func wait() -> Bool {
    piece = nil
    result = nil
    finishing = nil
    return gradientIsFinite
  }

  /// The own block is all there is.
  public func gather(_ own: UnsafeRawBufferPointer, byteCounts: [Int]) -> [UInt8] {
    precondition(byteCounts == [own.count], "one member, \(own.count) bytes, expected \(byteCounts)")
    return [UInt8](own)
  }
}
