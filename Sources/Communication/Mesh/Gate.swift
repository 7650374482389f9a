// Where a caller waits for the mesh thread to finish what it asked for. Reusable; no allocation per wait.

import Foundation

final class Gate: @unchecked Sendable {  // every access holds the condition's lock
  private enum State {
    case idle
    case running
    case finished
    case failed(CommunicationError)
  }

  private let condition = NSCondition()
  private var state = State.idle

  func begin() {
    condition.lock()
    state = .running
    condition.unlock()
  }

  func finish() { end(.finished) }
  func fail(_ error: CommunicationError) { end(.failed(error)) }

  private func end(_ outcome: State) {
    condition.lock()
    if case .running = state { state = outcome }
    condition.broadcast()
    condition.unlock()
  }

  /// Waits for the end and makes the gate idle again.
  ///
  /// Returns false when the deadline passes first; nil waits for ever.
  func wait(until deadline: Date? = nil) throws -> Bool {
    condition.lock()
    defer { condition.unlock() }
    while true {
      switch state {
      case .idle: return true
      case .finished:
        state = .idle
        return true
      case .failed(let error):
        state = .idle
        throw error
      case .running:
        guard let deadline else {
          condition.wait()
          continue
        }
        if !condition.wait(until: deadline), case .running = state { return false }
      }
    }
  }
}
