// One copy of the training state, for the checkpoint that is being written while the steps go on.
import Dispatch
import Training

/// Room for one snapshot: the training thread fills it, the outbox empties it.
///
/// `@unchecked Sendable` because the semaphore hands the buffer from one thread to the other.
final class SnapshotSlot: @unchecked Sendable {
  // From 0 and signaled once: a semaphore that is freed below its first value traps, and a job may be dropped at any time.
  private let free = DispatchSemaphore(value: 0)
  private var buffer: TrainingState?

  init() { free.signal() }

  /// Makes the room before the first step: hundreds of megabytes that are touched for the first time would hold up the first
  /// checkpoint.
  @discardableResult
  func prepare(for state: TrainingState, plan: JobPlan) -> TrainingState {
    let room = buffer ?? state.makeSnapshotBuffer(plan: plan)
    buffer = room
    return room
  }

  /// Copies a state, waiting at most `patience` for the snapshot before to be written.
  ///
  /// - Returns: the copy, to be given back with `release`; nil when the one before is still needed.
  func take(of state: TrainingState, plan: JobPlan, patience: Duration) -> TrainingState? {
    guard free.wait(timeout: .now() + .microseconds(patience.microseconds)) == .success else { return nil }
    let copy = prepare(for: state, plan: plan)
    state.copySnapshot(into: copy)
    return copy
  }

  /// Gives the copy back.
  func release() { free.signal() }
}
