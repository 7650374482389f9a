// A network inside one process, for tests and simulations: the same engine, no sockets.
// Frames of one link keep their order; links are served in a seeded random order, so that tests see every interleaving.

import Foundation
import Synchronization

/// Connects the meshes of one process; members are killed by `kill`.
public final class MemoryNetwork: Sendable {
  final class Member: Sendable {
    let wake: WakePipe
    let inbox = Mutex<[UInt64: [Item]]>([:])
    let isDead = Mutex(false)
    init(wake: WakePipe) { self.wake = wake }
  }

  enum Item: Sendable {
    case frame(FrameHeader, [UInt8])
    case linked(rank: Int)
    case lost(rank: Int)
  }

  struct Link {
    var from: String
    var to: String
    var rank: Int
  }

  struct State {
    var members: [String: Member] = [:]
    var links: [UInt64: Link] = [:]
    var nextLink: UInt64 = 1
    var withdrawn: Set<String> = []
  }

  let state = Mutex(State())
  let seed: UInt64

  /// Makes an empty network; the seed decides the order in which links are served.
  public init(seed: UInt64 = 1) { self.seed = seed }

  /// A mesh on this network, listening at `memory:NAME`.
  public func makeMesh(name: String, onPeerLost: @escaping @Sendable (PeerLoss) -> Void = { _ in }) throws -> PeerMesh {
    try PeerMesh(onPeerLost: onPeerLost) { [self] wake in
      MemoryTransport(network: self, name: "memory:\(name)", wake: wake)
    }
  }

  /// Cuts a member off as if its process had been killed: what it sent stays sent, everybody linked to it loses the link.
  public func kill(name: String) {
    let name = "memory:\(name)"
    let (member, links) = state.withLock { state -> (Member?, [UInt64: Link]) in
      (state.members.removeValue(forKey: name), state.links.filter { $0.value.to == name || $0.value.from == name })
    }
    member?.isDead.withLock { $0 = true }
    for (number, link) in links where link.to == name {
      post(.lost(rank: link.rank), link: number | 1 << 63, to: link.from)
    }
  }

  /// Has every payload of a member count as changed while it was read, as if the member had left and used its memory again.
  public func withdrawMemory(name: String) {
    _ = state.withLock { $0.withdrawn.insert("memory:\(name)") }
  }

  func post(_ item: Item, link: UInt64, to name: String) {
    guard let member = state.withLock({ $0.members[name] }) else { return }
    member.inbox.withLock { $0[link, default: []].append(item) }
    member.wake.wake()
  }
}

final class MemoryTransport: MeshTransport {
  let dataEndpoint: String
  var localEndpoint: String { "" }
  var endpointKey: CurvePublicKey? { nil }
  let ledger: SendLedger
  var lentByteCount: UInt64 { 0 }
  private let network: MemoryNetwork
  private let member: MemoryNetwork.Member
  private let wake: WakePipe
  private var links: [Int: UInt64] = [:]
  private var generator: UInt64
  private var pollSet = PollSet()

  init(network: MemoryNetwork, name: String, wake: WakePipe) {
    self.network = network
    self.wake = wake
    dataEndpoint = name
    ledger = SendLedger(wake: wake)
    generator = network.seed
    member = MemoryNetwork.Member(wake: wake)
    let member = member
    network.state.withLock { $0.members[name] = member }
  }

  func open(_ membership: MeshMembership) throws {
    for (rank, peer) in membership.peers.enumerated() where rank != membership.rank {
      let link = MemoryNetwork.Link(from: dataEndpoint, to: peer.dataEndpoint, rank: rank)
      let number = network.state.withLock { state in
        defer { state.nextLink += 1 }
        state.links[state.nextLink] = link
        return state.nextLink
      }
      links[rank] = number
      let exists = network.state.withLock { $0.members[peer.dataEndpoint] != nil }
      network.post(exists ? .linked(rank: rank) : .lost(rank: rank), link: number | 1 << 63, to: dataEndpoint)
    }
  }

  func closeLinks() {
    let numbers = Array(links.values)
    links.removeAll()
    network.state.withLock { state in
      for number in numbers { state.links[number] = nil }
    }
    member.inbox.withLock { inbox in
      for number in numbers { inbox[number | 1 << 63] = nil }
    }
  }

  func lends(_ payload: UnsafeRawBufferPointer, to rank: Int) -> Bool { false }

  func send(_ header: FrameHeader, payload: UnsafeRawBufferPointer, to rank: Int) -> Bool {
    guard let number = links[rank], !member.isDead.withLock({ $0 }) else { return true }
    guard let link = network.state.withLock({ $0.links[number] }) else { return false }
    network.post(.frame(header, [UInt8](payload)), link: number, to: link.to)
    return true
  }

  func poll(timeout: Duration?, _ deliver: (TransportEvent) -> Void) {
    if member.inbox.withLock({ $0.isEmpty }) {
      pollSet.reset(wake: wake)
      pollSet.wait(timeout)
    }
    wake.drain()
    while let (link, item) = take() {
      switch item {
      case .linked(let rank): deliver(.linked(rank: rank))
      case .lost(let rank): deliver(.lost(rank: rank, evidence: "the connection was closed by the peer"))
      case .frame(let header, let bytes):
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 4)
        copy.copyBytes(from: bytes)
        guard let start = copy.baseAddress else { continue }
        deliver(
          .frame(
            Frame(
              header: header, link: link, payload: UnsafeRawBufferPointer(start: start, count: bytes.count),
              storage: start)))
      }
    }
  }

  /// The next item of a random link.
  private func take() -> (UInt64, MemoryNetwork.Item)? {
    generator = generator &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    let choice = Int(generator >> 33)
    return member.inbox.withLock { inbox in
      guard !inbox.isEmpty else { return nil }
      let link = inbox.keys.sorted()[choice % inbox.count]
      guard var items = inbox.removeValue(forKey: link) else { return nil }
      let item = items.removeFirst()
      if !items.isEmpty { inbox[link] = items }
      return (link, item)
    }
  }

  func isIntact(_ frame: Frame) -> Bool {
    network.state.withLock { state in state.links[frame.link].map { !state.withdrawn.contains($0.from) } ?? true }
  }

  func release(_ frame: Frame) { frame.storage.deallocate() }

  func close() {
    closeLinks()
    network.kill(name: String(dataEndpoint.dropFirst("memory:".count)))
  }
}
