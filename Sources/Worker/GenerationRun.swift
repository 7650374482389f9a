// One generation as the session's and the training thread share it.
import Synchronization

/// The work of this member in one generation: what it is, and how it is told to stop.
final class GenerationRun: Sendable {
  /// What the member is told.
  let assignment: Assignment
  /// Set when the generation is over.
  let interruption = Interruption()
  private let isStopAsked = Atomic(false)
  private let stopRequest = Mutex(StopRequest())
  private let training = Atomic(false)

  init(_ assignment: Assignment) { self.assignment = assignment }

  /// The job and generation.
  var key: GenerationKey { assignment.key }
  /// The virtual shards of every rank.
  var ranges: [Range<Int>] { assignment.peers.map(\.shards) }

  /// Where the training loop is to stop.
  struct StopRequest: Sendable {
    /// Steps that may be committed before it stops.
    var step: UInt64 = .max
    /// Whether rank 0 saves first.
    var saves = false
  }

  /// Asks the training loop to stop; of several requests the earliest step counts, and whether any of them saves.
  func requestStop(at step: UInt64, saves: Bool) {
    stopRequest.withLock { request in
      request.step = min(request.step, step)
      request.saves = request.saves || saves
    }
    isStopAsked.store(true, ordering: .releasing)
  }

  /// What was asked for, when it is due with `step` steps committed.
  func dueStop(at step: Int) -> StopRequest? {
    guard isStopAsked.load(ordering: .acquiring) else { return nil }
    return stopRequest.withLock { UInt64(step) >= $0.step ? $0 : nil }
  }

  /// From now on the state changes.
  func startTraining() { training.store(true, ordering: .releasing) }
  /// Whether the state may change: it is no longer served to peers.
  var isTraining: Bool { training.load(ordering: .acquiring) }
}
