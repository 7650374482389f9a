// `temper simulate`: the cluster's state machines under faults, for whoever changes them.
import ArgumentParser
import Foundation
import Simulation

struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Test the cluster's protocol in simulated clusters.",
    discussion: """
      Each seed is one cluster in one thread: the coordinator's and the workers' state machines on a virtual clock, while \
      processes are killed, machines freeze, links break and disks fill up. What must hold is checked after every event. \
      A seed that fails fails again in the same way: look at it with --seed K --trace.
      Exits with 0, or 70 when something did not hold.
      """)

  @Option(help: "Number of clusters.")
  var seeds: UInt64 = 1_000
  @Option(help: "The first seed.")
  var firstSeed: UInt64 = 1
  @Option(help: "Run this one seed only.")
  var seed: UInt64?
  @Option(help: "Simulated hours of faults per cluster; then they stop and the jobs must end.")
  var hours = 0.5
  @Option(help: "Threads; one cluster runs on one. The machine's processors by default.")
  var threads: Int?
  @Option(help: "Begin no further cluster after so many seconds of real time.")
  var seconds: Int?
  @Flag(help: "Print everything that happens. Needs --seed.")
  var trace = false
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard hours > 0, hours <= 1_000 else { throw ValidationError("--hours is \(hours); it takes 0...1000, above 0.") }
    guard threads.map({ (1...256).contains($0) }) ?? true else {
      throw ValidationError("--threads is \(threads ?? 0); it takes 1...256.")
    }
    guard !firstSeed.addingReportingOverflow(seeds).overflow else {
      throw ValidationError("--first-seed \(firstSeed) and --seeds \(seeds) exceed 64 bits.")
    }
    guard !trace || seed != nil else { throw ValidationError("--trace needs --seed K: one cluster's course.") }
    guard !trace || !output.json else { throw ValidationError("--trace and --json exclude each other.") }
  }

  func run() throws {
    if trace, let seed {
      let outcome = Simulation.run(seed: seed, hours: hours) { print($0) }
      print("fingerprint \(String(outcome.fingerprint, radix: 16))")
      if outcome.violation != nil { throw ExitCode(70) }
      return
    }
    let first = seed ?? firstSeed
    var options = Simulation.Options(seeds: first..<first + (seed == nil ? seeds : 1))
    options.hours = hours
    options.threads = threads ?? ProcessInfo.processInfo.activeProcessorCount
    options.limit = seconds.map { .seconds($0) }
    let report = Simulation.run(options)
    if output.json { try printJSON(report) } else { summarize(report) }
    if !report.violations.isEmpty { throw ExitCode(70) }
  }

  private func summarize(_ report: SimulationReport) {
    print(
      """
      \(report.seeds) clusters, \(Int(report.simulatedHours)) simulated hours, \(Int(report.jobHours)) job-hours
      \(report.kills) kills (\(report.workerKills) workers, \(report.coordinatorKills) coordinators), \
      \(report.faults) faults, \(report.generations) generations, \(report.steps) steps committed and compared
      \(Int(report.wallSeconds)) s on \(report.threads) threads, \(Int(report.speedup)) times real time
      """)
    for finding in report.violations {
      print(
        "seed \(finding.seed), \(Int(finding.violation.seconds)) s: \(finding.violation.invariant): \(finding.violation.text)"
      )
      print("  hint: temper simulate --seed \(finding.seed) --hours \(hours) --trace shows how it came to that")
    }
    print(report.violations.isEmpty ? "nothing was violated" : "\(report.violations.count) violations")
  }
}
