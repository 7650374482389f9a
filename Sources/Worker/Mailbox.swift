// A queue between threads: any thread posts, one thread takes and may wait.
// Used by WorkerSession for events and by MemberRunner for its tasks. Waiting uses the monotonic clock.
import Dispatch
import Synchronization

/// An unbounded first-in, first-out queue for one taker.
final class Mailbox<Element: Sendable>: Sendable {
  private let elements = Mutex<[Element]>([])
  private let available = DispatchSemaphore(value: 0)

  /// Adds an element; never blocks for long.
  func post(_ element: Element) {
    elements.withLock { $0.append(element) }
    available.signal()
  }

  /// The oldest element, waiting for one at most `timeout`.
  func take(within timeout: Duration? = nil) -> Element? {
    let deadline: DispatchTime =
      if let timeout { .now() + .microseconds(timeout.microseconds) } else { .distantFuture }
    guard available.wait(timeout: deadline) == .success else { return nil }
    return elements.withLock { $0.removeFirst() }
  }
}

extension Duration {
  /// Whole microseconds, rounded down.
  var microseconds: Int {
    let (seconds, attoseconds) = components
    return Int(seconds) * 1_000_000 + Int(attoseconds / 1_000_000_000_000)
  }

  /// Seconds as a number, for rates and messages.
  var inSeconds: Double { Double(microseconds) / 1_000_000 }
}
