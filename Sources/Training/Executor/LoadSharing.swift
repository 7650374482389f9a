// Members that share their state (TrainingState+Sharing) share the work of loading it too: each rounds, quantizes and packs a part of
// the weights, into memory that all of them read.

/// How a member shares the loading of weights with others of its machine.
///
/// Not thread safe: the training thread's.
public final class LoadSharing {
  fileprivate let rank: Int
  fileprivate let worldSize: Int
  fileprivate let memory: (_ count: Int) throws -> FloatVector?
  fileprivate let meet: () throws -> Void

  /// Describes the sharing.
  ///
  /// - Parameters:
  ///   - rank: this member's place.
  ///   - worldSize: members that share.
  ///   - memory: makes memory that all members map, zero at first; nil, on all members, where one of them cannot. Every member calls
  ///     it at the same place in its steps.
  ///   - meet: returns when every member has called it; what they wrote before is then visible.
  public init(
    rank: Int, worldSize: Int, memory: @escaping (_ count: Int) throws -> FloatVector?,
    meet: @escaping () throws -> Void
  ) {
    self.rank = rank
    self.worldSize = worldSize
    self.memory = memory
    self.meet = meet
  }
}

/// The sharing as one program sees it: its memory, and what became of its meetings.
final class ProgramSharing {
  private let sharing: LoadSharing
  private(set) var memory: FloatVector?
  private var failure: (any Error)?
  /// How long meetings have waited for others, in all.
  private(set) var waitingTime = Duration.zero

  init(_ sharing: LoadSharing) { self.sharing = sharing }

  /// Makes the memory of shared tensors; without it, or where there is none, every member does the whole work.
  func allocate(byteCount: Int) throws { memory = try sharing.memory((byteCount + 3) / 4) }

  /// What this member does of a thread's share of the work.
  func part(_ share: TaskShare) -> TaskShare {
    guard memory != nil else { return share }
    return TaskShare(
      part: sharing.rank * share.parts + share.part, parts: sharing.worldSize * share.parts, thread: share.thread)
  }

  /// Waits for the others' parts; a failure is kept for `check`, and what follows it is of no account.
  func meet() {
    guard memory != nil, failure == nil else { return }
    let start = ContinuousClock.now
    do { try sharing.meet() } catch { failure = error }
    waitingTime += ContinuousClock.now - start
  }

  /// - Throws: what a meeting has met with.
  func check() throws {
    if let failure { throw failure }
  }
}
