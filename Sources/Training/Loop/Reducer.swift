// What a training step needs from whoever adds up the members' partial sums.
//
// Training knows only this protocol. LocalReducer serves a single member; the cluster's reducer lives in Worker, over
// Communication.AllReduce.

/// Finishes the reductions of one step over all members of a generation.
///
/// One step: `begin`, then `submit` once for every bucket of `ReductionPlan.buckets` (in ascending order) and `submitMaxima`
/// once, in any interleaving, then `wait`. All calls come from the training thread. After `wait` returns, `result` (see
/// `finishing`) and `maxima` hold the same bits on every member.
public protocol Reducer: AnyObject {
  /// Opens a step.
  ///
  /// - Parameters:
  ///   - step: the global step, counted from 0, that this reduction belongs to.
  ///   - pieces: one partial sum vector (`ReductionPlan.sumCount` Floats) for each piece of this member, ascending. A piece is a
  ///     maximal complete aligned subtree of the member's shards. They must stay valid and, once submitted, unchanged
  ///     until `wait` returns or throws.
  ///   - result: receives the sum over all shards, `sumCount` Floats; may be one of the pieces.
  ///   - maxima: own maxima on entry, the maxima over all members after `wait`; `ReductionPlan.maximumCount` Floats.
  ///   - halfScale: 0, or the scale of gradients that are summed as halves: every node of the tree over them is
  ///     fp16(value * halfScale) / halfScale, as the pieces are already.
  ///   - finishing: if given, called for ranges of the gradient whose sums this member has made, with these sums, on any thread;
  ///     the members' ranges together are the gradient, which is then undefined in `result`. All members give one or none
  ///     does, and `wait` returns when all calls have returned.
  /// - Throws: the reducer's own error when the generation has ended.
  func begin(
    step: UInt64, pieces: [UnsafeMutablePointer<Float>], result: UnsafeMutablePointer<Float>,
    maxima: UnsafeMutablePointer<Float>, halfScale: Float, finishing: ((Range<Int>, UnsafePointer<Float>) -> Void)?
  ) throws

  /// Says that the elements `ReductionPlan.buckets[bucket]` of every piece are final. Returns at once.
  func submit(bucket: Int)

  /// Says that the own maxima are final. Returns at once.
  func submitMaxima()

  /// Blocks until everything submitted is reduced.
  ///
  /// - Returns: whether the sums in `ReductionPlan.parameterRange`, the gradient, are all finite; the same on every member.
  /// - Throws: the reducer's own error when a member is lost; `result` and `maxima` are then undefined and the
  ///   training state is as before the step.
  func wait() throws -> Bool

  /// Collects one block of bytes from every member, in rank order; used outside an open step (evaluation, calibration).
  ///
  /// - Parameters:
  ///   - own: this member's block, `byteCounts[rank]` bytes.
  ///   - byteCounts: sizes by rank, the same list on every member.
  /// - Returns: all blocks, concatenated.
  func gather(_ own: UnsafeRawBufferPointer, byteCounts: [Int]) throws -> [UInt8]
}
