// The data plane between the members of a generation: the face that other threads use.
// One owner thread (MeshEngine) does all input and output, and the summing of AllReduce; it sleeps in poll and never spins.

import Foundation
import Synchronization

/// Links to all peers of a generation; carries all-reduces, all-gathers and state for newcomers.
///
/// The mesh lives as long as the process and is formed anew for each generation. Any failure ends the generation for this
/// member at once: every waiter throws, and nothing is repaired.
public final class PeerMesh: Sendable {
  /// Where to listen.
  public struct Configuration: Sendable {
    /// Address or interface of this machine to listen on, as `127.0.0.1` or `eth0`; the port is a free one in 20000..<30000.
    public var interface: String
    /// The address that peers connect to; the interface's own when nil.
    public var advertisedAddress: String?
    /// Directory for an ipc socket, absolute and short (paths end at 107 characters); nil for none.
    public var ipcDirectory: String?
    /// A link without traffic for this long is lost; libzmq's own heartbeats keep it alive.
    public var linkTimeout: Duration
    /// Whether tcp links are encrypted and peers proven by `LinkKeys`; in the clear they are allowed on loopback only.
    public var isEncrypted: Bool
    /// Whether peers on this machine, linked by ipc, read gradients in `SharedBuffer`s where they lie.
    public var sharesMemory: Bool

    /// Makes a configuration; loopback only unless told otherwise.
    public init(
      interface: String = "127.0.0.1", advertisedAddress: String? = nil, ipcDirectory: String? = nil,
      linkTimeout: Duration = .seconds(3), isEncrypted: Bool = true, sharesMemory: Bool = true
    ) {
      self.sharesMemory = sharesMemory
      self.isEncrypted = isEncrypted
      self.interface = interface
      self.advertisedAddress = advertisedAddress
      self.ipcDirectory = ipcDirectory
      self.linkTimeout = linkTimeout
    }
  }

  /// What the face and the mesh thread share.
  struct Shared {
    var commands: [MeshCommand] = []
    var membership: MeshMembership?
    var failure: CommunicationError?
    var traffic = MeshTraffic()
    var isClosed = false
  }

  /// Where peers of other machines reach this member, for WorkerHello.
  public let dataEndpoint: String
  /// Where peers on this machine reach it; empty when no ipc directory was given.
  public let ipcEndpoint: String
  /// The public key of `dataEndpoint`, fresh for each mesh, for WorkerHello; nil when links are in the clear.
  public let endpointKey: CurvePublicKey?
  let shared: SharedBox
  private let wake: WakePipe
  private let thread: OwnerThread

  /// `Shared` behind a lock, held by the face and by the thread.
  final class SharedBox: Sendable {
    private let value = Mutex(Shared())
    func withLock<Result: Sendable>(_ body: (inout sending Shared) throws -> sending Result) rethrows -> Result {
      try value.withLock(body)
    }
  }

  /// Listens and starts the mesh thread.
  ///
  /// - Parameters:
  ///   - configuration: where to listen.
  ///   - onPeerLost: called on the mesh thread, at most once per generation, as soon as a link breaks.
  /// - Throws: `addressInUse`, `badEndpoint`, naming the endpoint; `notPermitted` for links in the clear off loopback.
  public convenience init(
    _ configuration: Configuration = Configuration(), onPeerLost: @escaping @Sendable (PeerLoss) -> Void = { _ in }
  ) throws {
    try self.init(onPeerLost: onPeerLost) { try ZeroMQTransport(configuration, wake: $0) }
  }

  /// Takes a transport, made on the mesh thread.
  init(
    onPeerLost: @escaping @Sendable (PeerLoss) -> Void,
    transport makeTransport: @escaping @Sendable (WakePipe) throws -> any MeshTransport
  ) throws {
    let wake = try WakePipe()
    let shared = SharedBox()
    let thread = OwnerThread()
    let outcome = Handover<Result<(String, String, CurvePublicKey?), any Error>>()
    thread.start(name: "mesh") {
      do {
        let transport = try makeTransport(wake)
        let endpoints = (transport.dataEndpoint, transport.localEndpoint, transport.endpointKey)
        let engine = MeshEngine(transport: transport, shared: shared, onPeerLost: onPeerLost)
        outcome.give(.success(endpoints))
        engine.run()
      } catch {
        outcome.give(.failure(error))
      }
    }
    (dataEndpoint, ipcEndpoint, endpointKey) = try outcome.take().get()
    self.wake = wake
    self.shared = shared
    self.thread = thread
  }

  deinit { close() }

  func command(_ command: MeshCommand) {
    let isTaken = shared.withLock { shared in
      if !shared.isClosed { shared.commands.append(command) }
      return !shared.isClosed
    }
    if isTaken { wake.wake() } else { command.gate?.fail(MeshCommand.closedError) }
  }

  /// The membership of the last `form`, also after it ended.
  public var membership: MeshMembership? { shared.withLock { $0.membership } }

  /// Why the last generation is over for this member; nil while it lives.
  ///
  /// For a training thread to look at between layers.
  public var failure: CommunicationError? { shared.withLock { $0.failure } }

  /// Bytes and frames so far.
  public var traffic: MeshTraffic { shared.withLock { $0.traffic } }

  /// Links to all peers and waits until every link stands in both directions.
  ///
  /// Every member calls it when the coordinator begins the generation; an earlier generation ends by it.
  /// - Throws: `timedOut` naming the missing ranks, `peerLost`, `generationEnded` when `end` came before or meanwhile.
  public func form(_ membership: MeshMembership, timeout: Duration) throws {
    guard membership.peers.indices.contains(membership.rank), membership.worldSize <= 256 else {
      throw CommunicationError(.misuse, "rank \(membership.rank) of \(membership.worldSize) members; at most 256")
    }
    if let keys = membership.keys,
      [keys.endpoints.count, keys.members.count] != [membership.worldSize, membership.worldSize]
    {
      throw CommunicationError(
        .misuse, "\(keys.members.count) and \(keys.endpoints.count) keys for \(membership.worldSize) members")
    }
    let gate = Gate()
    gate.begin()
    command(.form(membership, gate))
    guard try !gate.wait(until: Date(timeIntervalSinceNow: timeout.inSeconds)) else { return }
    command(.giveUpForming(gate, after: timeout))
    _ = try gate.wait()
  }

  /// Ends a generation for this member: links are dropped, every waiter throws `generationEnded` with the reason.
  ///
  /// From any thread, never waits. A generation that is not formed yet will refuse to form; another one is not touched.
  public func end(job: UInt64, generation: UInt64, reason: String) {
    command(.end(job: job, generation: generation, reason: reason))
  }

  /// Ends what is under way and closes the sockets.
  ///
  /// Waiters throw `closed`.
  public func close() {
    let wasOpen = shared.withLock { shared in
      let wasOpen = !shared.isClosed
      shared.isClosed = true
      return wasOpen
    }
    wake.wake()
    if wasOpen && !thread.isCurrent { thread.join() }
  }
}
