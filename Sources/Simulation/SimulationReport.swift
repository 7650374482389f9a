// The numbers of a run of the simulator, as `temper simulate --json` writes them.
import Data

/// What happened in all worlds of a run.
package struct SimulationReport: Sendable, Codable {
  /// Something that did not hold, and the seed that shows it again.
  package struct Finding: Sendable, Codable {
    package var seed: UInt64
    package var violation: Violation
  }

  /// Worlds that were run.
  package var seeds = 0
  /// Time that passed in them.
  package var simulatedHours = 0.0
  /// Time in which jobs ran, summed over jobs.
  package var jobHours = 0.0
  /// Processes killed: workers and coordinators.
  package var kills = 0
  package var workerKills = 0
  package var coordinatorKills = 0
  /// Faults of every kind, and how often each.
  package var faults = 0
  package var faultKinds: [String: Int] = [:]
  package var generations = 0
  package var steps = 0
  package var checkpoints = 0
  package var messages = 0
  package var threads: Int
  package var wallSeconds = 0.0
  /// Simulated time by wall time, all threads together.
  package var speedup = 0.0
  package var violations: [Finding] = []
  /// A digest of all worlds' courses: the same for the same seeds and program.
  package var fingerprint: UInt64 = 0

  init(threads: Int) { self.threads = threads }

  mutating func add(_ outcome: Simulation.Outcome) {
    seeds += 1
    simulatedHours += Double(outcome.microseconds) / 3600e6
    jobHours += Double(outcome.counts.jobMicroseconds) / 3600e6
    workerKills += outcome.counts.workerKills
    coordinatorKills += outcome.counts.coordinatorKills
    kills = workerKills + coordinatorKills
    faults += outcome.counts.faults
    faultKinds.merge(outcome.counts.faultKinds) { $0 + $1 }
    generations += outcome.counts.generations
    steps += outcome.counts.steps
    checkpoints += outcome.counts.checkpoints
    messages += outcome.counts.messages
    // A sum, because worlds end in any order.
    fingerprint &+= CounterRandom.mix(outcome.fingerprint ^ outcome.seed)
    if let violation = outcome.violation { violations.append(Finding(seed: outcome.seed, violation: violation)) }
  }

  mutating func conclude(after duration: Duration) {
    let (seconds, attoseconds) = duration.components
    wallSeconds = Double(seconds) + Double(attoseconds) * 1e-18
    speedup = wallSeconds > 0 ? simulatedHours * 3600 / wallSeconds : 0
    violations.sort { $0.seed < $1.seed }
  }
}
