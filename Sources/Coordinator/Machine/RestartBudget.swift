// How often a job may start over without getting anywhere. A supervisor that restarts for ever is worse than the fault
// (SkyPilot #10155: 24 relaunches of a healthy job in 19 hours), so every restart is paid for, each waits longer than the
// one before, and when the budget is spent a person is asked. A committed step fills it up again.

/// The restarts that a job may still make.
package struct RestartBudget: Sendable, Hashable {
  /// Waits before each restart; their number is the budget.
  package static let delays: [Duration] = [
    .zero, .milliseconds(250), .milliseconds(500), .seconds(1), .seconds(2),
  ]

  /// Restarts since the last committed step.
  package private(set) var spent = 0

  /// A full budget.
  package init() {}

  /// A step was committed: the job gets somewhere.
  package mutating func refill() { spent = 0 }

  /// Pays for one restart.
  ///
  /// - Returns: how long to wait before it, nil when the budget is spent.
  package mutating func pay() -> Duration? {
    guard spent < Self.delays.count else { return nil }
    defer { spent += 1 }
    return Self.delays[spent]
  }
}
