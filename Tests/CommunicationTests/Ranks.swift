// Runs the members of a generation in one process, each on a thread of its own, over any network.

import Foundation
import Synchronization

@testable import Communication

/// Meshes of one network and what was reported to them.
final class Ranks: Sendable {
  let meshes: [PeerMesh]
  let losses = Losses()

  /// Collects `onPeerLost` of all ranks.
  final class Losses: Sendable {
    private let list = Mutex<[(rank: Int, loss: PeerLoss)]>([])
    func add(_ rank: Int, _ loss: PeerLoss) { list.withLock { $0.append((rank, loss)) } }
    var all: [(rank: Int, loss: PeerLoss)] { list.withLock { $0 } }
  }

  init(_ count: Int, make: (Int, @escaping @Sendable (PeerLoss) -> Void) throws -> PeerMesh) throws {
    let losses = losses
    meshes = try (0..<count).map { rank in try make(rank) { losses.add(rank, $0) } }
  }

  /// On an in-memory network; the seed decides the order of deliveries.
  static func inMemory(_ count: Int, seed: UInt64 = 1) throws -> Ranks {
    let network = MemoryNetwork(seed: seed)
    return try Ranks(count) { try network.makeMesh(name: "\($0)", onPeerLost: $1) }
  }

  /// Over ZeroMQ on this machine, by ipc or by tcp on loopback.
  static func overZeroMQ(_ count: Int, ipc: Bool, sharesMemory: (Int) -> Bool = { _ in true }) throws -> Ranks {
    try Ranks(count) { rank, onPeerLost in
      try PeerMesh(
        PeerMesh.Configuration(ipcDirectory: ipc ? NSTemporaryDirectory() : nil, sharesMemory: sharesMemory(rank)),
        onPeerLost: onPeerLost)
    }
  }

  func peers() -> [MeshPeer] {
    meshes.enumerated().map { rank, mesh in
      MeshPeer(
        name: "w\(rank)", dataEndpoint: mesh.dataEndpoint, ipcEndpoint: mesh.ipcEndpoint, host: HostIdentity.current)
    }
  }

  /// Fresh keys of a generation by rank, as a coordinator hands them out; nil on networks without.
  ///
  /// - Parameter strangers: endpoints of further members that are not there.
  func keys(and strangers: [CurvePublicKey] = []) -> [LinkKeys?] {
    let endpoints = meshes.compactMap(\.endpointKey)
    guard endpoints.count == meshes.count else { return meshes.map { _ in nil } }
    let pairs = (endpoints + strangers).map { _ in CurveKeyPair.make() }
    return meshes.indices.map {
      LinkKeys(own: pairs[$0], endpoints: endpoints + strangers, members: pairs.map(\.publicKey))
    }
  }

  /// Forms a generation and runs `body` on every rank at once; the outcomes by rank.
  ///
  /// Whoever fails ends the generation for all, as a coordinator would.
  func run<Value: Sendable>(
    generation: UInt64 = 1, formTimeout: Duration = .seconds(20),
    _ body: @escaping @Sendable (Int, PeerMesh) throws -> Value
  ) -> [Result<Value, any Error>] {
    let peers = peers()
    let keys = keys()
    return inParallel(meshes.count) { [meshes] rank in
      let membership = MeshMembership(job: 7, generation: generation, rank: rank, peers: peers, keys: keys[rank])
      do {
        try meshes[rank].form(membership, timeout: formTimeout)
        return try body(rank, meshes[rank])
      } catch {
        for mesh in meshes { mesh.end(job: 7, generation: generation, reason: "rank \(rank): \(error)") }
        throw error
      }
    }
  }

  func close() {
    for mesh in meshes { mesh.close() }
  }
}

/// Runs a body on `count` threads and waits for all.
func inParallel<Value: Sendable>(
  _ count: Int, _ body: @escaping @Sendable (Int) throws -> Value
) -> [Result<Value, any Error>] {
  let results = (0..<count).map { _ in Handover<Result<Value, any Error>>() }
  for (index, result) in results.enumerated() {
    let thread = OwnerThread()
    thread.start(name: "rank-\(index)") { result.give(Result { try body(index) }) }
  }
  return results.map { $0.take() }
}

/// Float sums as a plain recursion: the twin of what the ranks compute together.
enum Reference {
  /// The partial sum of shard `shard` at element `element`: bits that make the order of additions visible.
  static func leaf(_ shard: Int, _ element: Int) -> Float {
    var bits = UInt64(shard + 1) &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(element &+ 1) &* 0xD1B5_4A32_D192_ED03
    bits = (bits ^ (bits >> 29)) &* 0xBF58_476D_1CE4_E5B9
    bits ^= bits >> 32
    return Float(Int32(truncatingIfNeeded: bits)) * 0x1p-20
  }

  /// node = left + right over the shards of a subtree.
  static func node(_ first: Int, _ count: Int, _ element: Int) -> Float {
    if count == 1 { return leaf(first, element) }
    return node(first, count / 2, element) + node(first + count / 2, count / 2, element)
  }

  /// Maximum `index` of a rank in a step: small integers, different everywhere.
  static func maximum(_ index: Int, rank: Int, step: Int) -> Float {
    let mixed: Int = index * 7 + rank * 13 + step
    return Float(mixed % 31) - 15
  }

  /// Cuts 0..<shardCount into ranges whose sizes depend on the seed; some may be empty when there are more ranks than shards.
  static func ranges(_ worldSize: Int, shardCount: Int, seed: Int) -> [Range<Int>] {
    var cuts = [0]
    for rank in 1..<max(2, worldSize) where worldSize > 1 {
      let even = shardCount * rank / worldSize
      cuts.append(max(cuts[rank - 1], min(shardCount, even + (seed + rank) % 3 - 1)))
    }
    cuts.append(shardCount)
    return (0..<worldSize).map { cuts[$0]..<cuts[$0 + 1] }
  }
}

extension HalfFormat {
  /// Conversion one by one.
  static let plain = HalfFormat(
    encode: { source, count, scale, target in
      for index in 0..<count {
        target.storeBytes(of: Float16(source[index] * scale).bitPattern, toByteOffset: index * 2, as: UInt16.self)
      }
    },
    decode: { source, count, scale, target in
      for index in 0..<count {
        let bits = source.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)
        target[index] = Float(Float16(bitPattern: bits)) / scale
      }
    })
}

/// The buffers of one rank, filled from the reference.
final class Buffers {
  let pieces: [UnsafeMutablePointer<Float>]
  let result: UnsafeMutablePointer<Float>
  let maxima: UnsafeMutablePointer<Float>
  private let layout: ReductionLayout

  /// Fills every piece; with what the reference says of the step unless told otherwise.
  init(
    _ allReduce: AllReduce, _ layout: ReductionLayout, rank: Int, step: Int,
    fill: ((TreePiece, UnsafeMutablePointer<Float>) -> Void)? = nil
  ) {
    self.layout = layout
    pieces = allReduce.pieces.map { piece in
      let buffer = UnsafeMutablePointer<Float>.allocate(capacity: layout.sumCount)
      if let fill {
        fill(piece, buffer)
      } else {
        for element in 0..<layout.sumCount {
          buffer[element] = Reference.node(piece.first, piece.count, element + step * 1_000_003)
        }
      }
      return buffer
    }
    result = .allocate(capacity: layout.sumCount)
    result.initialize(repeating: -1, count: layout.sumCount)
    maxima = .allocate(capacity: layout.maximumCount)
    for index in 0..<layout.maximumCount { maxima[index] = Reference.maximum(index, rank: rank, step: step) }
  }

  deinit {
    for piece in pieces { piece.deallocate() }
    result.deallocate()
    maxima.deallocate()
  }

  var sums: [Float] { Array(UnsafeBufferPointer(start: result, count: layout.sumCount)) }
  var maximumValues: [Float] { Array(UnsafeBufferPointer(start: maxima, count: layout.maximumCount)) }
}
