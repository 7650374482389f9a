// Weights and moments in memory that the members of a generation share, so that each makes a part of an update for all (Decision
// 0021).
//
// There are two places. A step reads one and writes the other, and the two change roles when the step is committed: a step
// that fails leaves the state as it was, whatever others have written by then. A place that a member reads at step s is written
// again in step s + 2, whose sums need that member's gradient: nobody writes what a member may still be reading, however far
// behind it is.
//
// Layout: [2 places][weights, moments][stride], stride being their length in whole cache lines.

extension TrainingState {
  /// Floats of memory for both places.
  public var sharedCount: Int { 2 * vectors.all.count * stride }

  private var stride: Int { (weights.count + 15) / 16 * 16 }

  /// Copies a share of weights and moments to the first place, on which all members work at the same time.
  public func fill(_ memory: UnsafeMutablePointer<Float>, part: Int, of parts: Int) {
    let range = weights.count * part / parts..<weights.count * (part + 1) / parts
    for (vector, place) in zip(vectors.all, place(0, in: memory, owner: self).all) {
      (place.pointer + range.lowerBound).update(from: vector.pointer + range.lowerBound, count: range.count)
    }
  }

  /// Moves weights and moments to shared memory, whose first place holds them already, until `unshare`.
  ///
  /// - Parameters:
  ///   - memory: `sharedCount` Floats.
  ///   - owner: keeps the memory for as long as it lives.
  ///   - loading: how the members share the work of loading weights.
  public func share(_ memory: UnsafeMutablePointer<Float>, owner: AnyObject, loading: LoadSharing) {
    precondition(ownVectors == nil, "the state is shared already")
    ownVectors = vectors
    loadSharing = loading
    let (current, next) = (place(0, in: memory, owner: owner), place(1, in: memory, owner: owner))
    vectors = current
    nextVectors = next
  }

  /// Copies weights and moments back to memory of their own, if they are shared: the generation is over.
  public func unshare() {
    guard let own = ownVectors else { return }
    own.copy(from: vectors)
    vectors = own
    ownVectors = nil
    nextVectors = nil
    loadSharing = nil
  }

  /// What the members have written becomes the state.
  func changePlaces() {
    guard let next = nextVectors else { preconditionFailure("the state is not shared") }
    nextVectors = vectors
    vectors = next
  }

  private func place(_ index: Int, in memory: UnsafeMutablePointer<Float>, owner: AnyObject) -> StateVectors {
    let count = vectors.all.count
    let places = (0..<count).map {
      FloatVector(count: weights.count, pointer: memory + (index * count + $0) * stride, owner: owner)
    }
    return StateVectors(weights: places[0], moments: Array(places[1...]))
  }
}
