// One copy of weights and moments for all members of a generation, where they are on one machine (Decision 0021), and of what is made of
// weights for a step.

public import Communication
public import Training

/// Moves the members' states to memory that they share.
public enum SharedState {
  /// Shares a state, unless the members are on several machines or one of them cannot map the memory.
  ///
  /// Every member calls it with the same state before its first step. `TrainingState.unshare` undoes it when the generation is
  /// over.
  /// - Returns: whether the state is shared; the same on all members.
  /// - Throws: `CommunicationError` when a member is lost meanwhile; the state is then not shared.
  @discardableResult
  public static func begin(_ state: TrainingState, over mesh: PeerMesh) throws -> Bool {
    guard let membership = mesh.membership, membership.worldSize > 1, membership.isOnOneMachine else { return false }
    let (rank, worldSize) = (membership.rank, membership.worldSize)
    let buffer = try makeBuffer(count: state.sharedCount, over: mesh, membership) {
      state.fill($0.pointer, part: rank, of: worldSize)
    }
    guard let buffer else { return false }
    let loading = LoadSharing(rank: rank, worldSize: worldSize) { count in
      try makeBuffer(count: count, over: mesh, membership).map {
        FloatVector(count: count, pointer: $0.pointer, owner: $0)
      }
    } meet: {
      _ = try mesh.allGather([1], of: membership)
    }
    state.share(buffer.pointer, owner: buffer, loading: loading)
    return true
  }

  /// Memory that all members map, zero but for what `prepare` writes; nil, on all, where one cannot map it.
  ///
  /// Two all-gathers: where the memory is, and whether everybody has mapped and prepared it.
  private static func makeBuffer(
    count: Int, over mesh: PeerMesh, _ membership: MeshMembership, prepare: (SharedBuffer) -> Void = { _ in }
  ) throws -> SharedBuffer? {
    // Freed by the last who maps it.
    let made = membership.rank == 0 ? SharedBuffer(count: count) : nil
    let none = [UInt8](repeating: 0, count: SharedBuffer.addressByteCount)
    let addresses = try mesh.allGather(made?.address ?? none, of: membership)
    let buffer = made ?? SharedBuffer(address: addresses.prefix(none.count), count: count)
    if let buffer { prepare(buffer) }
    let votes = try mesh.allGather([buffer == nil ? 0 : 1], of: membership)
    return votes.allSatisfy { $0 == 1 } ? buffer : nil
  }
}

extension PeerMesh {
  /// The blocks of all members, of equal sizes, outside a step.
  fileprivate func allGather(_ block: [UInt8], of membership: MeshMembership) throws -> [UInt8] {
    let byteCounts = [Int](repeating: block.count, count: membership.worldSize)
    return try block.withUnsafeBytes { try allGather(step: 0, block: $0, byteCounts: byteCounts) }
  }
}
