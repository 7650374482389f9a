// Two ways to give a value to another thread.

import Foundation
import Synchronization

/// Carries a value that is not Sendable to the one thread that will own it.
final class Transfer<Value>: @unchecked Sendable {  // given away once by `sending`, taken once by the new owner
  private var value: Value?
  init(_ value: sending Value) { self.value = value }
  func take() -> Value {
    guard let value else { fatalError("a transferred value was taken twice") }
    self.value = nil
    return value
  }
}

/// Hands one value from a starting thread to the thread that waits for it.
final class Handover<Value: Sendable>: Sendable {
  private let value = Mutex<Value?>(nil)
  private let given = DispatchSemaphore(value: 0)
  func give(_ value: Value) {
    self.value.withLock { $0 = value }
    given.signal()
  }
  /// Waits for the value for a limited time.
  func take(within timeout: Duration) -> Value? {
    guard given.wait(timeout: .now() + timeout.inSeconds) == .success else { return nil }
    return value.withLock { $0 }
  }

  func take() -> Value {
    given.wait()
    guard let value = value.withLock({ $0 }) else { fatalError("a handover was empty") }
    return value
  }
}
