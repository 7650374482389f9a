// Whether a worker may tell its service manager that it gets somewhere (systemd's WatchdogSec=). Being alive is not enough: a training
// thread that hangs leaves the heartbeats alive. A worker that waits (for a job, for peers, for a disk) is not hanging; one that trains must
// commit steps.

/// Decides when the watchdog is fed.
struct ProgressWatch: Sendable {
  /// Between two signs of life.
  let interval: Duration
  private var lastFed: Duration?
  private var stepsFed: UInt64 = 0

  init(interval: Duration) { self.interval = interval }

  /// Whether to tell now; called often.
  ///
  /// - Parameters:
  ///   - activity: what the training thread does.
  ///   - steps: how many this process has taken part in.
  mutating func isDue(activity: Activity, steps: UInt64, at now: Duration) -> Bool {
    guard lastFed.map({ now - $0 >= interval }) ?? true else { return false }
    guard activity != .training || lastFed == nil || steps > stepsFed else { return false }
    lastFed = now
    stepsFed = steps
    return true
  }
}
