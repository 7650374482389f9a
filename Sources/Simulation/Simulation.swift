// The face of the simulator: runs worlds by their seeds, on as many threads as asked for, and sums up what happened. A world is one
// thread's business and a function of its seed alone, so a seed that fails fails again, in the same way, wherever it is run.
import Foundation
import Synchronization

/// Runs simulated clusters.
package enum Simulation {
  /// What to run.
  package struct Options: Sendable {
    /// One world each.
    package var seeds: Range<UInt64>
    /// Simulated time of each world until its faults stop.
    package var hours = 0.5
    package var threads = 1
    /// No further world is begun after this time.
    package var limit: Duration?
    /// Whether to stop at the first violation.
    package var stopsAtViolation = false
    /// A mistake to plant, for tests of the checks.
    package var bug: PlantedBug?

    package init(seeds: Range<UInt64>) { self.seeds = seeds }
  }

  /// One world's course.
  package struct Outcome: Sendable {
    package var seed: UInt64
    package var violation: Violation?
    /// The same for the same seed and program.
    package var fingerprint: UInt64
    var counts: World.Counts
    var microseconds: Int64
  }

  /// Runs one world.
  ///
  /// - Parameters:
  ///   - seed: decides everything.
  ///   - hours: simulated time until its faults stop.
  ///   - bug: a mistake to plant, for tests of the checks.
  ///   - trace: called with a line for everything that happens, nil for none.
  package static func run(
    seed: UInt64, hours: Double = 0.5, bug: PlantedBug? = nil, trace: ((String) -> Void)? = nil
  ) -> Outcome {
    let world = World(seed: seed, hours: hours, bug: bug)
    world.tracer = trace
    world.run()
    return Outcome(
      seed: seed, violation: world.judge.violation, fingerprint: world.fingerprint, counts: world.counts,
      microseconds: world.now)
  }

  /// Runs many worlds.
  package static func run(_ options: Options) -> SimulationReport {
    let start = ContinuousClock.now
    let next = Atomic(options.seeds.lowerBound)
    let isStopped = Atomic(false)
    let report = Mutex(SimulationReport(threads: options.threads))
    DispatchQueue.concurrentPerform(iterations: options.threads) { _ in
      while !isStopped.load(ordering: .relaxed) {
        let seed = next.add(1, ordering: .relaxed).oldValue
        guard seed < options.seeds.upperBound else { return }
        if let limit = options.limit, ContinuousClock.now - start >= limit { return }
        let outcome = run(seed: seed, hours: options.hours, bug: options.bug)
        report.withLock { $0.add(outcome) }
        if options.stopsAtViolation, outcome.violation != nil { isStopped.store(true, ordering: .relaxed) }
      }
    }
    return report.withLock { report in
      report.conclude(after: ContinuousClock.now - start)
      return report
    }
  }
}
