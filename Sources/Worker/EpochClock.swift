// How long the steps of each epoch took, evaluations and membership changes not counted.

/// Adds up the time of steps by epoch.
struct EpochClock: Sendable {
  private var epochs: [Int: (steps: Int, time: Duration)] = [:]

  /// Takes in one committed step.
  mutating func note(epoch: Int, _ time: Duration) {
    let sum = epochs[epoch] ?? (0, .zero)
    epochs[epoch] = (sum.steps + 1, sum.time + time)
  }

  /// Seconds that all steps of an epoch took.
  ///
  /// For an epoch that was partly trained before this worker joined, the steps it has seen stand for the others; 0 without any.
  func seconds(ofEpoch epoch: Int, steps: Int) -> Double {
    guard let seen = epochs[epoch] else { return 0 }
    return seen.time.inSeconds * Double(steps) / Double(seen.steps)
  }
}
