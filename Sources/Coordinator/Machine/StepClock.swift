// How long a step of a job takes, from the committed steps that heartbeats carry, as seen by the coordinator's clock.
// The median, not the mean: one step that waits for an evaluation must not stretch the patience with a hung worker.

/// The recent step times of one job.
package struct StepClock: Sendable {
  private static let window = 15
  private var durations: [Duration] = []
  private var last: (step: UInt64, at: Instant)?

  /// A clock that has seen nothing.
  package init() {}

  /// Median time of the recent steps, nil before two steps were seen.
  package var median: Duration? {
    durations.isEmpty ? nil : durations.sorted()[durations.count / 2]
  }

  /// Notes the newest committed step of the job; several steps between two heartbeats share the time evenly.
  package mutating func note(step: UInt64, at now: Instant) {
    guard let previous = last else {
      last = (step, now)
      return
    }
    guard step > previous.step else { return }
    durations.append((now - previous.at) / Double(step - previous.step))
    if durations.count > Self.window { durations.removeFirst() }
    last = (step, now)
  }

  /// Forgets when the last step was committed, because the job stood still in between; what is known of the pace stays.
  package mutating func pause() { last = nil }
}
