// Worlds without planted bugs: nothing is violated, and the seed decides everything.
import Testing

@testable import Simulation

@Suite("Simulated clusters")
struct WorldTests {
  @Test("keep every invariant under kills, partitions, freezes, clock jumps and bad disks")
  func sound() {
    var options = Simulation.Options(seeds: 1..<61)
    options.threads = 2
    let report = Simulation.run(options)
    for finding in report.violations { Issue.record("seed \(finding.seed): \(finding.violation)") }
    #expect(report.seeds == 60)
    #expect(report.kills > 5_000 && report.steps > 40_000 && report.checkpoints > 1_000, "\(report)")
    #expect(report.faultKinds.count == Fault.allCases.count, "\(report.faultKinds)")
  }

  @Test("replay from their seed, event by event")
  func replay() {
    func lines(_ seed: UInt64) -> [String] {
      var lines: [String] = []
      _ = Simulation.run(seed: seed, hours: 0.1) { lines.append($0) }
      return lines
    }
    let first = lines(7)
    #expect(first.count > 500)
    #expect(first == lines(7))
    #expect(first != lines(8))
    #expect(Simulation.run(seed: 7).fingerprint == Simulation.run(seed: 7).fingerprint)
  }
}
