// When shards move to faster workers. Any plan gives the same bits, so this is about speed only, and moving costs a new
// generation: a plan must promise a clearly shorter step, for a while, and each move makes the next one wait twice as long.

/// The hysteresis and the budget of moving shards within one membership.
package struct ReplanPolicy: Sendable {
  /// The step must get shorter by more than this share.
  package static let gain = 0.15
  /// For how long the gain must have been in sight.
  package static let patience = Duration.seconds(5)
  /// The wait after the first move; it doubles with every further one.
  package static let firstWait = Duration.seconds(30)
  /// The longest wait between two moves.
  package static let longestWait = Duration.seconds(900)
  private static let interval = Duration.seconds(1)

  private var lastLook: Instant?
  private var inSightSince: Instant?
  private var notBefore: Instant?
  private var moves = 0

  /// A policy that has not moved anything yet.
  package init() {}

  /// Whether it is time to compare plans: that takes a millisecond, so it is done once a second.
  package mutating func looks(at now: Instant) -> Bool {
    guard isDue(at: now) else { return false }
    // Nobody looked, as when this process was frozen: the gain was not in sight all the while.
    if let lastLook, now - lastLook > Self.patience / 2 { inSightSince = nil }
    lastLook = now
    return true
  }

  /// Whether `looks` would say so.
  func isDue(at now: Instant) -> Bool {
    now >= notBefore ?? now && lastLook.map { now - $0 >= Self.interval } ?? true
  }

  /// Whether to move from a plan whose steps take `current` to one whose steps would take `best`, now.
  package mutating func moves(from current: Duration, to best: Duration, at now: Instant) -> Bool {
    guard Self.isGain(from: current, to: best) else {
      inSightSince = nil
      return false
    }
    let since = inSightSince ?? now
    inSightSince = since
    guard now - since >= Self.patience else { return false }
    inSightSince = nil
    notBefore = now + min(Self.firstWait * (1 << min(moves, 10)), Self.longestWait)
    moves += 1
    return true
  }

  /// Whether a step gets shorter by enough.
  static func isGain(from current: Duration, to best: Duration) -> Bool { best < current * (1 - gain) }

  /// Other members: what was in sight is void, and the budget is full again.
  package mutating func reset() { self = ReplanPolicy() }
}
