import Foundation
import Testing

@testable import Communication

@Suite("Mesh faults", .serialized)
struct MeshFaultTests {
  enum Network: CaseIterable { case memory, ipc, tcp }

  private func layout(_ sumCount: Int = 4_000) throws -> ReductionLayout {
    try ReductionLayout(sumCount: sumCount, buckets: [sumCount / 2..<sumCount, 0..<sumCount / 2], maximumCount: 3)
  }

  private func code<Value>(_ result: Result<Value, any Error>) -> CommunicationError.Code? {
    if case .failure(let error as CommunicationError) = result { return error.code }
    return nil
  }

  @Test(
    "a member lost in the middle of an all-reduce: every survivor throws within a second and names it",
    arguments: Network.allCases)
  func lostInTheMiddle(network: Network) throws {
    let memory = MemoryNetwork()
    let losses = Ranks.Losses()
    let ranks: Ranks
    switch network {
    case .memory: ranks = try Ranks(3) { rank, _ in try memory.makeMesh(name: "\(rank)") { losses.add(rank, $0) } }
    case .ipc, .tcp:
      ranks = try Ranks(3) { rank, _ in
        try PeerMesh(.init(ipcDirectory: network == .ipc ? NSTemporaryDirectory() : nil)) { losses.add(rank, $0) }
      }
    }
    defer { ranks.close() }
    let layout = try layout()
    let died = Recorder<ContinuousClock.Instant>()
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<3, 3..<5, 5..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      allReduce.submit(bucket: 0)
      if rank == 1 {
        usleep(50_000)
        died.add(ContinuousClock().now)
        if network == .memory { memory.kill(name: "1") } else { mesh.close() }
        return Duration.zero
      }
      allReduce.submit(bucket: 1)
      allReduce.submitMaxima()
      do {
        try allReduce.wait()
        throw CommunicationError(.misuse, "the all-reduce ended without rank 1")
      } catch let error as CommunicationError where error.code == .peerLost {
        #expect(error.message.hasPrefix("rank 1"), "\(error)")
        #expect(mesh.failure?.code == .peerLost)
        return ContinuousClock().now - died.all[0]
      }
    }
    for rank in [0, 2] { #expect(try results[rank].get() < .seconds(1)) }
    let reports = losses.all.sorted { $0.rank < $1.rank }
    #expect(reports.map(\.rank) == [0, 2])
    for report in reports {
      #expect(report.loss.rank == 1 && report.loss.job == 7 && report.loss.generation == 1)
      #expect(report.loss.evidence.contains("connection"))
    }
  }

  @Test("a process killed with SIGKILL is found within a second")
  func killedProcess() async throws {
    let directory = NSTemporaryDirectory() + "temper-kill-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let mesh = try PeerMesh(.init(ipcDirectory: directory))
    defer { mesh.close() }
    let parent = "\(mesh.dataEndpoint) \(mesh.ipcEndpoint)"
    let outcome = Handover<Result<Double, any Error>>()
    let layout = try layout()
    OwnerThread().start(name: "survivor") {
      outcome.give(Result { try Self.surviveChild(mesh, directory: directory, layout: layout) })
    }
    await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String, parent = parent as String] in
      let child = try PeerMesh(.init(ipcDirectory: directory))
      try Self.publish("\(child.dataEndpoint) \(child.ipcEndpoint)", at: directory + "/child")
      let peers = [Self.peer(parent), Self.peer("\(child.dataEndpoint) \(child.ipcEndpoint)")]
      try child.form(MeshMembership(job: 7, generation: 1, rank: 1, peers: peers), timeout: .seconds(20))
      let layout = try ReductionLayout(sumCount: 4_000, buckets: [2_000..<4_000, 0..<2_000], maximumCount: 3)
      let allReduce = try AllReduce(mesh: child, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: 1, step: 0)
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      allReduce.submit(bucket: 0)
      usleep(50_000)
      try Self.publish("\(Date().timeIntervalSince1970)", at: directory + "/died")
      kill(getpid(), SIGKILL)
    }
    #expect(try outcome.take().get() < 1)
  }

  private static func publish(_ text: String, at path: String) throws {
    try text.write(toFile: path, atomically: true, encoding: .utf8)
  }

  private static func peer(_ endpoints: String) -> MeshPeer {
    let parts = endpoints.split(separator: " ").map(String.init)
    return MeshPeer(name: "p", dataEndpoint: parts[0], ipcEndpoint: parts[1], host: HostIdentity.current)
  }

  /// Forms with the child, and returns how many seconds after its death the all-reduce threw.
  private static func surviveChild(_ mesh: PeerMesh, directory: String, layout: ReductionLayout) throws -> Double {
    var child: String?
    while child == nil {
      child = try? String(contentsOfFile: directory + "/child", encoding: .utf8)
      usleep(1_000)
    }
    let peers = [peer("\(mesh.dataEndpoint) \(mesh.ipcEndpoint)"), peer(child ?? "")]
    try mesh.form(MeshMembership(job: 7, generation: 1, rank: 0, peers: peers), timeout: .seconds(20))
    let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
    let buffers = Buffers(allReduce, layout, rank: 0, step: 0)
    allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
    for bucket in 0..<2 { allReduce.submit(bucket: bucket) }
    allReduce.submitMaxima()
    do {
      try allReduce.wait()
      throw CommunicationError(.misuse, "the all-reduce ended without its peer")
    } catch let error as CommunicationError where error.code == .peerLost {
      let died = Double(try String(contentsOfFile: directory + "/died", encoding: .utf8)) ?? 0
      return Date().timeIntervalSince1970 - died
    }
  }

  @Test("end wakes a waiter at once with the reason, and the next generation works", arguments: Network.allCases)
  func endAndNext(network: Network) throws {
    let ranks = network == .memory ? try Ranks.inMemory(2) : try Ranks.overZeroMQ(2, ipc: network == .ipc)
    defer { ranks.close() }
    let layout = try layout()
    let bothWait = Recorder<Int>()
    let ended = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      for bucket in 0..<2 where rank == 0 { allReduce.submit(bucket: bucket) }
      bothWait.add(rank)
      #expect(bothWait.wait { $0.count == 2 })
      mesh.end(job: 7, generation: 1, reason: "w1 leaves")
      while mesh.failure == nil { usleep(100) }
      try allReduce.wait()
    }
    for result in ended {
      #expect(code(result) == .generationEnded)
      if case .failure(let error) = result { #expect("\(error)".hasSuffix("error: w1 leaves")) }
    }
    let next = ranks.run(generation: 2) { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<2, 2..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      for bucket in 0..<2 { allReduce.submit(bucket: bucket) }
      allReduce.submitMaxima()
      try allReduce.wait()
      return buffers.sums.map(\.bitPattern)
    }
    let expected = (0..<layout.sumCount).map { Reference.node(0, 8, $0).bitPattern }
    for result in next { #expect(try result.get() == expected) }
    #expect(ranks.losses.all.isEmpty, "leaving a generation is no loss of a peer")
  }

  @Test("a generation that was ended before it formed does not form; a newer one does")
  func endedBeforeForming() throws {
    let ranks = try Ranks.inMemory(2)
    defer { ranks.close() }
    for mesh in ranks.meshes { mesh.end(job: 7, generation: 3, reason: "over") }
    #expect(ranks.run(generation: 3) { _, _ in }.allSatisfy { code($0) == .generationEnded })
    #expect(ranks.run(generation: 4) { _, _ in }.allSatisfy { code($0) == nil })
  }

  @Test("forming without a member gives up after the time-out and names it", arguments: [Network.ipc, .tcp])
  func formingTimesOut(network: Network) throws {
    let ranks = try Ranks.overZeroMQ(2, ipc: network == .ipc)
    defer { ranks.close() }
    var peers = ranks.peers()
    peers.append(MeshPeer(name: "w-9", dataEndpoint: "tcp://127.0.0.1:19998"))
    let keys = ranks.keys(and: [CurveKeyPair.make().publicKey])
    let results = inParallel(2) { [peers] rank in
      var membership = MeshMembership(job: 1, generation: 1, rank: rank, peers: peers)
      membership.keys = keys[rank]
      try ranks.meshes[rank].form(membership, timeout: .milliseconds(400))
    }
    for result in results {
      #expect(code(result) == .timedOut)
      if case .failure(let error) = result {
        #expect("\(error)".contains("2 of 3 members linked after 0.4 s; missing: rank 2 (w-9)"))
      }
    }
  }

  @Test("a member left behind in an old generation cannot touch the new one")
  func oldGeneration() throws {
    let ranks = try Ranks.inMemory(3)
    defer { ranks.close() }
    let layout = try layout()
    let peers = ranks.peers()
    let isFormed = Recorder<Int>()
    let isSent = Recorder<Int>()
    let results = ranks.run { index, mesh -> [UInt32] in
      if index == 1 {
        let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<3, 3..<5, 5..<8], shardCount: 8)
        let buffers = Buffers(allReduce, layout, rank: index, step: 0)
        #expect(isFormed.wait { $0.count == 2 })
        allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
        for bucket in 0..<2 { allReduce.submit(bucket: bucket) }
        allReduce.submitMaxima()
        while mesh.traffic.sentFrames < 6 { usleep(100) }
        isSent.add(index)
        #expect(isSent.wait { $0.count == 3 })
        mesh.end(job: 7, generation: 1, reason: "told late")
        try allReduce.wait()
      }
      // The others go on without it; what was rank 2 is rank 1 now.
      let next = MeshMembership(job: 7, generation: 2, rank: index / 2, peers: [peers[0], peers[2]])
      try mesh.form(next, timeout: .seconds(20))
      isFormed.add(index)
      #expect(isSent.wait { $0.count >= 1 })
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: index / 2, step: 0)
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      for bucket in 0..<2 { allReduce.submit(bucket: bucket) }
      allReduce.submitMaxima()
      try allReduce.wait()
      isSent.add(index)
      return buffers.sums.map(\.bitPattern)
    }
    #expect(code(results[1]) == .generationEnded)
    let expected = (0..<layout.sumCount).map { Reference.node(0, 8, $0).bitPattern }
    for index in [0, 2] {
      #expect(try results[index].get() == expected)
      #expect(ranks.meshes[index].traffic.droppedFrames > 0)
    }
  }

  @Test("strangers who send garbage to the data port disturb nothing")
  func garbage() throws {
    // In the clear: with keys, none of it would be heard at all.
    let ranks = try Ranks(2) { try PeerMesh(.init(isEncrypted: false), onPeerLost: $1) }
    defer { ranks.close() }
    let endpoint = ranks.meshes[0].dataEndpoint
    let sent = inParallel(1) { _ in
      let socket = try Socket(.dealer)
      socket.setRoutingIdentity(PeerIdentity.fresh().bytes)
      try socket.connect(endpoint)
      while socket.send([0]) != .sent { usleep(1_000) }
      var header = [UInt8](repeating: 0, count: FrameHeader.byteCount)
      for kind in FrameHeader.Kind.hello.rawValue...FrameHeader.Kind.stateRefused.rawValue {
        guard let kind = FrameHeader.Kind(rawValue: kind) else { continue }
        let frame = FrameHeader(kind, rank: 1, job: 8, generation: 1)
        header.withUnsafeMutableBytes { if let start = $0.baseAddress { frame.encode(into: start) } }
        _ = socket.send(header, more: true)
        _ = socket.send([1, 2, 3])
        _ = socket.send(header)
        _ = socket.send(header, more: true)
        _ = socket.send([], more: true)
        _ = socket.send([])
        if kind != .hello {
          _ = socket.send(header, more: true)
          _ = socket.send([])
        }
      }
      usleep(100_000)
    }
    #expect(throws: Never.self) { try sent[0].get() }
    let layout = try layout()
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      for bucket in 0..<2 { allReduce.submit(bucket: bucket) }
      allReduce.submitMaxima()
      try allReduce.wait()
    }
    for result in results { #expect(throws: Never.self) { try result.get() } }
    #expect(ranks.meshes[0].traffic.droppedFrames > 30)
  }

  @Test("closing the mesh wakes waiters, and a closed mesh refuses")
  func closing() throws {
    let ranks = try Ranks.inMemory(2)
    let layout = try layout()
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      if rank == 1 { return mesh.close() }
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      for bucket in 0..<2 { allReduce.submit(bucket: bucket) }
      allReduce.submitMaxima()
      try allReduce.wait()
    }
    #expect(code(results[0]) == .peerLost)
    ranks.close()
    #expect(ranks.run(generation: 2) { _, _ in }.allSatisfy { code($0) == .closed })
  }

  /// Forms a generation of this mesh and a peer that reads nothing, and begins a step of 32 MiB whose bytes are all 7.
  private func begin(
    _ mesh: PeerMesh, with peer: DeafPeer, layout: ReductionLayout, sums: UnsafeMutablePointer<Float>,
    result: UnsafeMutablePointer<Float>
  ) throws -> AllReduce {
    let peers = [
      MeshPeer(name: "", dataEndpoint: mesh.dataEndpoint), MeshPeer(name: "", dataEndpoint: peer.endpoint),
    ]
    try mesh.form(MeshMembership(job: 1, generation: 1, rank: 0, peers: peers), timeout: .seconds(20))
    let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
    sums.initialize(repeating: Float(bitPattern: 0x0707_0707), count: layout.sumCount)
    allReduce.begin(step: 0, pieces: [sums], result: result, maxima: sums)
    allReduce.submit(bucket: 0)
    return allReduce
  }

  @Test("wait throws only after libzmq has let go of the buffers, even if the peer reads nothing")
  func buffersAreFreeAfterFailure() throws {
    let mesh = try PeerMesh(.init(isEncrypted: false))
    defer { mesh.close() }
    let peer = DeafPeer(of: mesh, expecting: 7)
    let layout = try ReductionLayout(sumCount: 8 << 20, buckets: [0..<8 << 20], maximumCount: 0)
    let sums = UnsafeMutablePointer<Float>.allocate(capacity: layout.sumCount)
    defer { sums.deallocate() }
    let allReduce = try begin(mesh, with: peer, layout: layout, sums: sums, result: sums)
    usleep(200_000)
    mesh.end(job: 1, generation: 1, reason: "enough")
    let start = ContinuousClock().now
    let error = try #require(throws: CommunicationError.self) { try allReduce.wait() }
    #expect(error.code == .generationEnded)
    #expect(ContinuousClock().now - start < .seconds(1))
    #expect(mesh.traffic.sentBytes == 16 << 20)
    // What the caller does with its buffer now reaches nobody.
    sums.update(repeating: Float(bitPattern: 0x0909_0909), count: layout.sumCount)
    #expect(peer.read() == 0)
  }

  @Test(
    "wait returns only after libzmq has let go of the buffers: a peer that has all it needs but reads late gets what was sent"
  )
  func buffersAreFreeAfterSuccess() throws {
    let layout = try ReductionLayout(sumCount: 8 << 20, buckets: [0..<8 << 20], maximumCount: 0)
    let half = layout.sumCount / 2
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    // Its partial sums for our half, then the results of its own half: our step is complete without it reading a byte.
    let frames = [FrameHeader.Kind.partial, .result].flatMap { kind in
      stride(from: 0, to: half, by: 1 << 18).map { offset in
        var header = FrameHeader(kind, rank: 1, job: 1, generation: 1)
        header.sequence = 1
        header.piece = 1
        header.offset = UInt64(kind == .partial ? offset : half + offset)
        return (header: header, payload: zeros)
      }
    }
    let mesh = try PeerMesh(.init(isEncrypted: false))
    defer { mesh.close() }
    let peer = DeafPeer(of: mesh, frames: frames, expecting: 7)
    let buffers = UnsafeMutablePointer<Float>.allocate(capacity: 2 * layout.sumCount)
    defer { buffers.deallocate() }
    let result = buffers + layout.sumCount
    let allReduce = try begin(mesh, with: peer, layout: layout, sums: buffers, result: result)
    let wrong = Handover<Int>()
    let isReleased = Recorder<Bool>()
    OwnerThread().start(name: "reader") {
      usleep(500_000)
      isReleased.add(true)
      wrong.give(peer.read())
    }
    try allReduce.wait()
    #expect(isReleased.all == [true], "wait returned while 16 MiB were still to be sent")
    buffers.update(repeating: Float(bitPattern: 0x0909_0909), count: 2 * layout.sumCount)
    #expect(wrong.take() == 0)
  }
}
