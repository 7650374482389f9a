// Decoders of what comes over links: control frames and what is made of them, frames of the mesh, states from peers.
import Foundation
import Synchronization
import Testing

@testable import Communication
@testable import Coordinator
@testable import Worker

@Suite("Damaged messages are refused in words")
struct WireFuzzTests {
  /// Messages of every direction, with every field that a decoder looks at.
  private static let messages: [WireEnvelope] = {
    func message(_ fill: (inout WireEnvelope) -> Void) -> WireEnvelope {
      var envelope = WireEnvelope()
      envelope.request = 3
      fill(&envelope)
      return envelope
    }
    let pair = CurveKeyPair.make()
    return [
      message {
        $0.workerHello.incarnation = "a"
        $0.workerHello.name = "w"
        $0.workerHello.dataEndpoint = "tcp://127.0.0.1:20000"
        $0.workerHello.meshKey = Data(pair.publicKey.bytes)
        $0.workerHello.job = 1
        $0.workerHello.generation = 2
      },
      message {
        $0.heartbeat.phase = "training"
        $0.heartbeat.committedStep = 9
        $0.heartbeat.job = 1
        $0.heartbeat.generation = 2
      },
      message {
        $0.generationBegin.job = 1
        $0.generationBegin.generation = 2
        $0.generationBegin.rank = 1
        $0.generationBegin.linkSecret = Data(pair.secretKey.bytes)
        $0.generationBegin.members = (0..<3).map { index in
          var member = WireMember()
          member.name = "w\(index)"
          member.shards.first = UInt32(index * 2)
          member.shards.count = 2
          member.meshKey = Data(pair.publicKey.bytes)
          member.linkKey = Data(pair.publicKey.bytes)
          return member
        }
      },
      message {
        $0.generationSync.step = 3
        $0.generationSync.source = .peer
      },
      message { $0.peerLost.rank = 1 },
      message { $0.epochResult.json = "{}" },
      message {
        $0.filePiece.file = "x"
        $0.filePiece.totalByteCount = 1 << 40
        $0.filePiece.bytes = Data(count: 100)
      },
      message {
        $0.checkpointBegin.step = 4
        $0.checkpointBegin.files = [WireCheckpointFile()]
      },
      message { $0.fetchPiece.file = "data/set/manifest.json" },
      message { $0.submitJob.spec = "version: 1\nname: x\n" },
      message { $0.enroll.publicKey = Data(count: 32) },
      message { $0.refused.exitCode = 77 },
    ]
  }()

  @Test("control frames, and the events that coordinator and worker make of them")
  func control() throws {
    let corpus = try Self.messages.map { try ControlFrame.encode($0) }
    let counts = try Fuzz.run("control", corpus) { bytes in
      let envelope = try ControlFrame.decode(bytes)
      guard let body = envelope.body else { return }
      _ = Event(body, from: ConnectionID(1))
      _ = try MemberEvent(envelope)
      if case .fetchPiece(let message) = body { #expect(!FileService().piece(message).error.isEmpty) }
    } isOwn: {
      $0 is CommunicationError || $0 is WorkerError
    }
    #expect(counts.refused > 0 && counts.accepted > 0)
  }

  @Test("headers of the mesh: what is accepted is written as it was read")
  func headers() throws {
    struct NoHeader: Error {}
    var corpus: [[UInt8]] = []
    for kind in 1...9 {
      guard let kind = FrameHeader.Kind(rawValue: UInt8(kind)) else { continue }
      corpus.append(Self.bytes(FrameHeader(kind, rank: 3, job: 1, generation: 2, step: 5)))
    }
    let counts = try Fuzz.run("header", corpus) { bytes in
      guard let header = bytes.withUnsafeBytes({ FrameHeader(decoding: $0) }) else { throw NoHeader() }
      #expect(Self.bytes(header) == bytes)
    } isOwn: {
      $0 is NoHeader
    }
    #expect(counts.refused > 0 && counts.accepted > 0)
  }

  private static func bytes(_ header: FrameHeader) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: FrameHeader.byteCount)
    bytes.withUnsafeMutableBytes { if let start = $0.baseAddress { header.encode(into: start) } }
    return bytes
  }

  @Test("states from peers")
  func states() throws {
    let corpus = [StateBlob.join(model: Array(0..<40), state: [1, 2]), StateBlob.join(model: [], state: [])]
    _ = try Fuzz.run("state", corpus) {
      let parts = try StateBlob.split($0)
      #expect(parts.model.count + parts.state.count == $0.count - 8)
    } isOwn: {
      $0 is WorkerError
    }
  }

  @Test("a member that sends damaged frames ends the generation or is ignored; it never brings this member down")
  func hostileMember() throws {
    var dice = Dice(seed: Fuzz.seed)
    let network = MemoryNetwork(seed: Fuzz.seed)
    let meshes = try (0..<2).map { try network.makeMesh(name: "\($0)") }
    defer { for mesh in meshes { mesh.close() } }
    let peers = meshes.map { MeshPeer(name: "m", dataEndpoint: $0.dataEndpoint) }
    let layout = try ReductionLayout(sumCount: 1_000, buckets: [500..<1_000, 0..<500], maximumCount: 3)
    let buffer = UnsafeMutablePointer<Float>.allocate(capacity: 4 * layout.sumCount)
    buffer.initialize(repeating: 1, count: 4 * layout.sumCount)
    defer { buffer.deallocate() }
    var violations = 0
    for generation in 1...UInt64(max(1, Fuzz.count / 10)) {
      try Self.form(meshes, generation, peers)
      meshes[0].serveState { _ in Array(repeating: 1, count: 100) }
      let allReduce = try AllReduce(mesh: meshes[0], layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
      let pieces = allReduce.pieces.indices.map { buffer + $0 * layout.sumCount }
      allReduce.begin(
        step: 5, pieces: pieces, result: buffer + 2 * layout.sumCount, maxima: buffer + 3 * layout.sumCount)
      allReduce.submit(bucket: 0)
      let link = network.state.withLock { state in
        state.links.first { $0.value.from == meshes[1].dataEndpoint }?.key
      }
      for _ in 0..<12 {
        network.post(damagedFrame(&dice, generation), link: try #require(link), to: meshes[0].dataEndpoint)
      }
      let deadline = Date(timeIntervalSinceNow: 0.002)
      while meshes[0].failure == nil, Date() < deadline { usleep(100) }
      if meshes[0].failure?.code == .protocolViolation { violations += 1 }
      for mesh in meshes { mesh.end(job: 1, generation: generation, reason: "next") }
      allReduce.submit(bucket: 1)
      allReduce.submitMaxima()
      // Undamaged frames among them may have completed it.
      do { try allReduce.wait() } catch { #expect(error is CommunicationError) }
    }
    #expect(violations > 0)
  }

  /// Links both members, each on a thread of its own, since each waits for the other.
  private static func form(_ meshes: [PeerMesh], _ generation: UInt64, _ peers: [MeshPeer]) throws {
    @Sendable func form(_ rank: Int) throws {
      let membership = MeshMembership(job: 1, generation: generation, rank: rank, peers: peers)
      try meshes[rank].form(membership, timeout: .seconds(60))
    }
    let other = Handover<Result<Void, any Error>>()
    let thread = OwnerThread()
    thread.start(name: "rank-1") { other.give(Result { try form(1) }) }
    let own = Result { try form(0) }
    try other.take().get()
    try own.get()
  }

  /// A frame of rank 1 with two fields off.
  private func damagedFrame(_ dice: inout Dice, _ generation: UInt64) -> MemoryNetwork.Item {
    let kinds: [FrameHeader.Kind] = [
      .partial, .result, .maxima, .gather, .stateRequest, .statePiece, .stateCredit, .stateRefused,
    ]
    var header = FrameHeader(kinds[dice.roll(kinds.count)], rank: 1, job: 1, generation: generation, step: 5)
    header.sequence = 1
    header.piece = 1
    header.bucket = UInt32(dice.roll(2))
    for _ in 0..<2 {
      let number = Mutator.numbers[dice.roll(Mutator.numbers.count)]
      switch dice.roll(6) {
      case 0: header.step = number
      case 1: header.sequence = UInt32(truncatingIfNeeded: number)
      case 2: header.bucket = UInt32(truncatingIfNeeded: number)
      case 3: header.piece = UInt32(truncatingIfNeeded: number)
      case 4: header.offset = number
      default: header.total = number
      }
    }
    let counts = [0, 1, 3, 4, 12, 100, 1_000, 2_000]
    let payload = [UInt8](repeating: 7, count: counts[dice.roll(counts.count)])
    header.payloadByteCount = UInt32(payload.count)
    return .frame(header, payload)
  }
}
