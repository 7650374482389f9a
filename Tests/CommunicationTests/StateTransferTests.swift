import Testing

@testable import Communication

@Suite("State transfer", .serialized)
struct StateTransferTests {
  private func pattern(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      for index in 0..<count { buffer[index] = UInt8(truncatingIfNeeded: index &* 31 ^ index >> 8) }
      initialized = count
    }
  }

  @Test(
    "a state of any size arrives whole at two newcomers at once",
    arguments: [0, 1, 1 << 20, (1 << 20) + 1, (11 << 20) + 5])
  func sizes(byteCount: Int) throws {
    for ranks in [try Ranks.inMemory(3), try Ranks.overZeroMQ(3, ipc: true)] {
      defer { ranks.close() }
      let state = pattern(byteCount)
      let fetched = Recorder<Int>()
      ranks.meshes[1].serveState { step in
        #expect(step == 133)
        return state
      }
      let results = ranks.run { rank, mesh in
        defer { fetched.add(rank) }
        guard rank != 1 else {
          // Serving goes on while this thread does something else.
          #expect(fetched.wait { $0.count == 2 })
          return true
        }
        return try mesh.fetchState(step: 133, from: 1, timeout: .seconds(20)) == state
      }
      for result in results { #expect(try result.get()) }
    }
  }

  @Test("a peer that cannot serve says why; one that serves too much is refused with both numbers")
  func refusals() throws {
    let ranks = try Ranks.inMemory(3)
    defer { ranks.close() }
    ranks.meshes[1].serveState { throw CommunicationError(.unavailable, "at step 12, not at step \($0)") }
    ranks.meshes[2].serveState { _ in [UInt8](repeating: 0, count: 1_001) }
    let isDone = Recorder<Int>()
    let results = ranks.run { rank, mesh -> [String] in
      guard rank == 0 else {
        _ = isDone.wait { $0.count == 1 }
        return []
      }
      defer { isDone.add(0) }
      return [(1, 1_000), (2, 1_000)].map { peer, limit in
        do {
          _ = try mesh.fetchState(step: 13, from: peer, maximumByteCount: limit, timeout: .seconds(10))
          return ""
        } catch { return "\(error)" }
      }
    }
    let messages = try results[0].get()
    #expect(messages[0] == "rank 1 (w1): error: at step 12, not at step 13")
    #expect(messages[1].contains("a state of 1001 bytes; the limit is 1000"))
  }

  @Test("a member without state says so, and a fetch without answer ends at its time-out")
  func nothingToServe() throws {
    let ranks = try Ranks.inMemory(2)
    defer { ranks.close() }
    let isDone = Recorder<Int>()
    let results = ranks.run { rank, mesh -> String in
      guard rank == 0 else {
        _ = isDone.wait { $0.count == 1 }
        return ""
      }
      defer { isDone.add(0) }
      do {
        _ = try mesh.fetchState(step: 1, from: 1, timeout: .seconds(10))
        return ""
      } catch { return "\(error)" }
    }
    #expect(try results[0].get() == "rank 1 (w1): error: this member has no state to serve")
    #expect(throws: CommunicationError.self) { try ranks.meshes[0].fetchState(step: 1, from: 0, timeout: .seconds(1)) }
  }
}
