// One copy of weights and moments for all members of a generation, where they are on one machine (Decision 0021).
// Two all-gathers at the beginning of a generation: where the memory is, and whether everybody has mapped and filled it.

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
    let (rank, worldSize, count) = (membership.rank, membership.worldSize, state.sharedCount)
    let step = UInt64(state.committedStep)
    // Freed by the last who maps it.
    let made = rank == 0 ? SharedBuffer(count: count) : nil
    var byteCounts = [Int](repeating: 0, count: worldSize)
    byteCounts[0] = SharedBuffer.addressByteCount
    let own = rank > 0 ? [] : made?.address ?? [UInt8](repeating: 0, count: byteCounts[0])
    let address = try own.withUnsafeBytes { try mesh.allGather(step: step, block: $0, byteCounts: byteCounts) }
    let buffer = rank == 0 ? made : SharedBuffer(address: address, count: count)
    if let buffer { state.fill(buffer.pointer, part: rank, of: worldSize) }
    let vote: [UInt8] = [buffer == nil ? 0 : 1]
    let votes = try vote.withUnsafeBytes {
      try mesh.allGather(step: step, block: $0, byteCounts: [Int](repeating: 1, count: worldSize))
    }
    guard let buffer, votes.allSatisfy({ $0 == 1 }) else { return false }
    state.share(buffer.pointer, owner: buffer)
    return true
  }
}
