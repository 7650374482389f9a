import Foundation
import Testing

@testable import Communication

@Suite("Mesh with keys", .serialized, .timeLimit(.minutes(1)))
struct CurveMeshTests {
  private func code<Value>(_ result: Result<Value, any Error>) -> CommunicationError.Code? {
    if case .failure(let error as CommunicationError) = result { return error.code }
    return nil
  }

  /// Forms a generation of two of the meshes with given keys.
  private func form(
    _ ranks: Ranks, _ keys: [LinkKeys?], generation: UInt64 = 1, timeout: Duration = .seconds(10)
  ) -> [Result<Void, any Error>] {
    let peers = Array(ranks.peers().prefix(2))
    return inParallel(2) { rank in
      let membership = MeshMembership(job: 7, generation: generation, rank: rank, peers: peers, keys: keys[rank])
      try ranks.meshes[rank].form(membership, timeout: timeout)
    }
  }

  /// Sends a hello over a link of its own; whether the mesh let the link in.
  private func greet(
    _ mesh: PeerMesh, as pair: CurveKeyPair, endpoint: CurvePublicKey, generation: UInt64, rank: Int
  ) throws -> Bool {
    let target = mesh.dataEndpoint
    return try inParallel(1) { _ -> Bool in
      let socket = try Socket(.dealer, options: SocketOptions(maximumFrameByteCount: 1 << 20))
      socket.setRoutingIdentity(PeerIdentity.fresh().bytes)
      socket.protect(as: pair, server: endpoint)
      try socket.connect(target)
      var bytes = [UInt8](repeating: 0, count: FrameHeader.byteCount)
      let header = FrameHeader(.hello, rank: rank, job: 7, generation: generation)
      bytes.withUnsafeMutableBytes { if let start = $0.baseAddress { header.encode(into: start) } }
      let deadline = ContinuousClock().now + .seconds(3)
      while socket.send(bytes, more: true) != .sent {
        if ContinuousClock().now > deadline { return false }
        usleep(1_000)
      }
      _ = socket.send([])
      usleep(200_000)
      return true
    }[0].get()
  }

  @Test("members with the keys of the generation link, though one of them hears of it half a second later")
  func links() throws {
    let ranks = try Ranks.overZeroMQ(2, ipc: false)
    defer { ranks.close() }
    let keys = ranks.keys()
    let peers = ranks.peers()
    let results = inParallel(2) { rank -> Duration in
      if rank == 1 { usleep(500_000) }
      let start = ContinuousClock().now
      try ranks.meshes[rank].form(
        MeshMembership(job: 7, generation: 1, rank: rank, peers: peers, keys: keys[rank]), timeout: .seconds(10))
      return ContinuousClock().now - start
    }
    // The early one's handshake waits at the late one: no refusal, no retry.
    #expect(try results[0].get() < .milliseconds(700))
    #expect(try results[1].get() < .milliseconds(150))
  }

  @Test("a member whose key the others were not given cannot link, nor one that expects another endpoint")
  func wrongKeys() throws {
    let ranks = try Ranks.overZeroMQ(2, ipc: false)
    defer { ranks.close() }
    var keys = ranks.keys()
    keys[1]?.own = .make()
    for result in form(ranks, keys, timeout: .milliseconds(600)) { #expect(code(result) == .timedOut) }
    keys = ranks.keys()
    keys[1]?.endpoints[0] = CurveKeyPair.make().publicKey
    for result in form(ranks, keys, generation: 2, timeout: .milliseconds(600)) { #expect(code(result) == .timedOut) }
    // The sockets recover: libzmq 4.3.4 may never retry after a failed handshake, so they are made anew.
    for result in form(ranks, ranks.keys(), generation: 3) { #expect(throws: Never.self) { try result.get() } }
  }

  @Test("without keys no tcp link is made, and none in the clear off loopback; ipc needs none")
  func noKeys() throws {
    let ranks = try Ranks.overZeroMQ(2, ipc: false)
    defer { ranks.close() }
    let start = ContinuousClock().now
    for result in form(ranks, [nil, nil]) {
      #expect(code(result) == .notPermitted)
      if case .failure(let error as CommunicationError) = result {
        #expect(error.hint.contains("--insecure") && error.exitCode == 77)
      }
    }
    #expect(ContinuousClock().now - start < .seconds(2))
    let open = #expect(throws: CommunicationError.self) { try PeerMesh(.init(interface: "eth0", isEncrypted: false)) }
    #expect(open?.code == .notPermitted)
    for wildcard in ["0.0.0.0", "*"] {
      let error = #expect(throws: CommunicationError.self) { try PeerMesh(.init(interface: wildcard)) }
      #expect(error?.code == .badEndpoint && error?.message == "it would listen on every interface")
    }
    let local = try Ranks.overZeroMQ(2, ipc: true)
    defer { local.close() }
    for result in form(local, [nil, nil]) { #expect(throws: Never.self) { try result.get() } }
  }

  @Test("a key of an earlier generation opens no link to the next")
  func earlierGeneration() throws {
    let ranks = try Ranks.overZeroMQ(2, ipc: false)
    defer { ranks.close() }
    let (first, second) = (ranks.keys(), ranks.keys())
    let endpoint = try #require(ranks.meshes[0].endpointKey)
    for result in form(ranks, first) { #expect(throws: Never.self) { try result.get() } }
    let old = try #require(first[1]?.own)
    #expect(try greet(ranks.meshes[0], as: old, endpoint: endpoint, generation: 1, rank: 1))
    for result in form(ranks, second, generation: 2) { #expect(throws: Never.self) { try result.get() } }
    let dropped = ranks.meshes[0].traffic.droppedFrames
    #expect(try !greet(ranks.meshes[0], as: old, endpoint: endpoint, generation: 2, rank: 1))
    #expect(ranks.meshes[0].traffic.droppedFrames == dropped && ranks.meshes[0].failure == nil)
  }

  @Test("a member cannot pose as another rank or generation: its key says who it is")
  func borrowedRank() throws {
    let ranks = try Ranks.overZeroMQ(2, ipc: false)
    defer { ranks.close() }
    let keys = ranks.keys()
    let endpoint = try #require(ranks.meshes[0].endpointKey)
    for result in form(ranks, keys) { #expect(throws: Never.self) { try result.get() } }
    let own = try #require(keys[1]?.own)
    for (generation, rank) in [(UInt64(1), 0), (2, 1), (1, 2)] {
      let before = ranks.meshes[0].traffic.droppedFrames
      #expect(try greet(ranks.meshes[0], as: own, endpoint: endpoint, generation: generation, rank: rank))
      let deadline = Date(timeIntervalSinceNow: 2)
      while ranks.meshes[0].traffic.droppedFrames == before, Date() < deadline { usleep(1_000) }
      #expect(ranks.meshes[0].traffic.droppedFrames == before + 1)
    }
    #expect(ranks.meshes[0].failure == nil)
  }
}
