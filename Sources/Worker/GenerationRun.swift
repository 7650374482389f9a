// One generation as the session's and the training thread share it.
import Synchronization

/// The work of this member in one generation: what it is, and how it is told to stop.
final class GenerationRun: Sendable {
  /// What the member is told.
  let assignment: Assignment
  /// Set when the generation is over.
  let interruption = Interruption()
  private let saving = Atomic(false)
  private let training = Atomic(false)

  init(_ assignment: Assignment) { self.assignment = assignment }

  /// The job and generation.
  var key: GenerationKey { assignment.key }
  /// The virtual shards of every rank.
  var ranges: [Range<Int>] { assignment.peers.map(\.shards) }

  /// Asks the training loop to save after the step in flight and to stop.
  func requestSaving() { saving.store(true, ordering: .releasing) }
  /// Whether the training loop was asked to save and stop.
  var isSavingRequested: Bool { saving.load(ordering: .acquiring) }

  /// From now on the state changes.
  func startTraining() { training.store(true, ordering: .releasing) }
  /// Whether the state may change: it is no longer served to peers.
  var isTraining: Bool { training.load(ordering: .acquiring) }
}
