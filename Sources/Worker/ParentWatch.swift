// The end of the process that started this one. Polled: prctl's signal is tied to a thread of the parent, not to the parent.
import Foundation

/// Notices the end of the parent process.
public enum ParentWatch {
  /// Calls `ended` once, on a thread of its own, within half a second of the parent's end.
  public static func start(_ ended: @escaping @Sendable () -> Void) {
    let parent = getppid()
    let thread = Thread {
      while getppid() == parent { Thread.sleep(forTimeInterval: 0.5) }
      ended()
    }
    thread.name = "parent"
    thread.start()
  }
}
