// What a coordinator says, checked before it reaches the decisions.
import Communication
import Testing

@testable import Worker

@Suite("An order from the coordinator")
struct WireConversionTests {
  private func begin(_ shards: [(UInt32, UInt32)], rank: UInt32 = 0) -> WireEnvelope {
    var envelope = WireEnvelope()
    envelope.generationBegin.job = 2
    envelope.generationBegin.generation = 9
    envelope.generationBegin.rank = rank
    envelope.generationBegin.members = shards.enumerated().map { index, range in
      var member = WireMember()
      member.name = "w-\(index)"
      member.shards.first = range.0
      member.shards.count = range.1
      return member
    }
    return envelope
  }

  @Test("to begin names the members by rank with contiguous shards")
  func accepted() throws {
    guard case .begin(let assignment) = try MemberEvent(begin([(0, 3), (3, 5)], rank: 1)) else {
      Issue.record("no order to begin")
      return
    }
    #expect(assignment.key == GenerationKey(job: 2, generation: 9))
    #expect(assignment.rank == 1 && assignment.peers.map(\.shards) == [0..<3, 3..<8])
    #expect(assignment.checkpoint == nil && assignment.initialWeights == nil)
  }

  @Test(
    "to begin is refused when it contradicts itself",
    arguments: [
      [(0, 4), (5, 3)], [(0, 4), (3, 5)], [(0, 0), (0, 8)], [(1, 7)], [(0, 65)], [(0, .max)], [],
    ] as [[(UInt32, UInt32)]])
  func contradictory(shards: [(UInt32, UInt32)]) {
    #expect(throws: WorkerError.self) { try MemberEvent(begin(shards)) }
  }

  @Test("to begin is refused when the receiver's rank is none")
  func wrongRank() {
    let error = #expect(throws: WorkerError.self) { try MemberEvent(begin([(0, 8)], rank: 1)) }
    #expect(error?.description == "job 2 generation 9: error: rank 1 of 1 members")
  }

  @Test("to synchronize is refused when it names no source")
  func noSource() {
    var envelope = WireEnvelope()
    envelope.generationSync.step = 4
    #expect(throws: WorkerError.self) { try MemberEvent(envelope) }
    envelope.generationSync.source = .UNRECOGNIZED(17)
    #expect(throws: WorkerError.self) { try MemberEvent(envelope) }
  }

  @Test("that is none is no event")
  func noOrder() throws {
    var envelope = WireEnvelope()
    envelope.acknowledged = WireAcknowledged()
    #expect(try MemberEvent(envelope) == nil)
    #expect(try MemberEvent(WireEnvelope()) == nil)
  }
}
