// The end of the time that a worker was given: by --max-runtime, or by the scheduler that would end it without asking.
import Foundation

/// Calls once, later.
public enum Deadline {
  /// Calls `reached` on a thread of its own after `delay` on the monotonic clock.
  public static func start(after delay: Duration, _ reached: @escaping @Sendable () -> Void) {
    let end = ContinuousClock.now + delay
    let thread = Thread {
      // In pieces: one sleep of hours would not notice that the machine was suspended meanwhile.
      while ContinuousClock.now < end { Thread.sleep(forTimeInterval: min(10, (end - .now) / .seconds(1))) }
      reached()
    }
    thread.name = "deadline"
    thread.start()
  }
}
