// How work for a generation is told to stop: a flag that is set once, by the session's thread, and read by whoever works.
import Synchronization

/// The end of a generation as the threads that work for it see it.
final class Interruption: Sendable {
  private let isSet = Atomic(false)
  private let text = Mutex("")

  /// Asks for the end; the first reason stays.
  func interrupt(_ reason: String) {
    text.withLock { if $0.isEmpty { $0 = reason } }
    isSet.store(true, ordering: .releasing)
  }

  /// Whether the end was asked for.
  var isInterrupted: Bool { isSet.load(ordering: .acquiring) }

  /// - Throws: `WorkerError.interrupted` once the end was asked for.
  func check() throws(WorkerError) {
    if isInterrupted { throw .interrupted(text.withLock { $0 }) }
  }
}
