// Time as the state machines see it: handed in, never read. The shell passes the monotonic clock, a test what it likes.

/// A moment of the coordinator's monotonic time.
package struct Instant: Hashable, Comparable, Sendable {
  /// Time since an arbitrary start.
  package let sinceStart: Duration

  /// The moment that is `sinceStart` after the start.
  package init(_ sinceStart: Duration) { self.sinceStart = sinceStart }

  package static func < (left: Instant, right: Instant) -> Bool { left.sinceStart < right.sinceStart }
  package static func + (left: Instant, right: Duration) -> Instant { Instant(left.sinceStart + right) }
  package static func - (left: Instant, right: Duration) -> Instant { Instant(left.sinceStart - right) }
  package static func - (left: Instant, right: Instant) -> Duration { left.sinceStart - right.sinceStart }
}

extension Duration {
  /// The duration in seconds, for reasons and rates.
  var inSeconds: Double {
    let parts = components
    return Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
  }

  /// `4.2 s`, as it appears in reasons.
  var spoken: String {
    let tenths = Int((max(0, inSeconds) * 10).rounded())
    return "\(tenths / 10).\(tenths % 10) s"
  }
}
