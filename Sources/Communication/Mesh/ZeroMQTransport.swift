// The mesh over ZeroMQ: ROUTERs that peers connect to (MeshPort), and one DEALER per peer. All sending is by DEALER, all
// receiving by ROUTER. A member's ROUTER lives as long as its process, so a DEALER that is disconnected is evidence of a lost process or network, and
// members that merely leave a generation break nobody's links.
// Payloads are sent from the caller's memory without copying; SendLedger knows when libzmq has let go of them. Peers linked by
// ipc read gradients in place instead (MemorySharing).

import CZeroMQ
import Foundation

final class ZeroMQTransport: MeshTransport {
  let dataEndpoint: String
  let localEndpoint: String
  let ledger: SendLedger

  struct Link {
    var rank: Int
    var dealer: Socket
    var monitor: SocketMonitor
    var endpoint: String
    /// The keys of a tcp link.
    var protection: (own: CurveKeyPair, peer: CurvePublicKey)?
    var isLinked = false
    var isLocal: Bool { protection == nil && endpoint.hasPrefix("ipc:") }
    /// Whether the peer reads this member's memory.
    var isReader = false
    /// Whether the peer's offer was taken and it does not know yet.
    var owesAcceptance = false
    /// Loans of the peer that were read, to be returned in one message before this thread waits.
    var readLoans: [UInt64] = []
    /// When to replace a socket whose handshake failed.
    var retryAt: ContinuousClock.Instant?
  }

  /// Below this it is cheaper to copy than to keep account.
  private static let copyLimit = 4_096
  private static let clock = ContinuousClock()
  private let wake: WakePipe
  private let options: SocketOptions
  private let host: String
  private let pair: CurveKeyPair?
  /// The tcp port, then the ipc port if there is one.
  private let ports: [MeshPort]
  var links: [Link] = []
  var membership: MeshMembership?
  let sharing: MemorySharing
  /// Offers of generations that this member has yet to open.
  var offers: [FrameHeader: MemoryOffer] = [:]
  private var pollSet = PollSet()
  private var messages = MessagePool()
  private let ledgerHint: Unmanaged<SendLedger>
  private let headerBytes: UnsafeMutableRawPointer
  private let outgoing: UnsafeMutablePointer<zmq_msg_t>

  init(_ configuration: PeerMesh.Configuration, wake: WakePipe) throws {
    self.wake = wake
    var options = SocketOptions(maximumFrameByteCount: Int64(FrameHeader.maximumPayloadByteCount))
    options.heartbeatTimeout = configuration.linkTimeout
    // The timeout runs from an unanswered ping, so a dead link is found after the timeout and up to one interval.
    options.heartbeat = configuration.linkTimeout / 6
    self.options = options
    host = HostIdentity.current
    ledger = SendLedger(wake: wake)
    pair = configuration.isEncrypted ? .make() : nil
    sharing = MemorySharing(isAllowed: configuration.sharesMemory && configuration.ipcDirectory != nil)
    let tcp = try MeshPort.tcp(interface: configuration.interface, pair: pair, options: options)
    let number = tcp.endpoint.split(separator: ":").last.map(String.init) ?? ""
    dataEndpoint = configuration.advertisedAddress.map { "tcp://\($0):\(number)" } ?? tcp.endpoint
    if let directory = configuration.ipcDirectory {
      let ipc = try MeshPort.ipc(path: "\(directory)/mesh-\(getpid())-\(number)", options: options)
      localEndpoint = ipc.endpoint
      ports = [tcp, ipc]
    } else {
      localEndpoint = ""
      ports = [tcp]
    }
    // Never given back: libzmq's threads may use it until the process ends.
    ledgerHint = Unmanaged.passRetained(ledger)
    headerBytes = .allocate(byteCount: FrameHeader.byteCount, alignment: 8)
    outgoing = .allocate(capacity: 1)
  }

  deinit {
    headerBytes.deallocate()
    outgoing.deallocate()
  }

  var endpointKey: CurvePublicKey? { pair?.publicKey }
  var lentByteCount: UInt64 { sharing.lentByteCount }

  // MARK: Links

  func open(_ membership: MeshMembership) throws {
    self.membership = membership
    for port in ports { try port.open(membership) }
    defer { takeEarlyOffers() }
    for (rank, peer) in membership.peers.enumerated() where rank != membership.rank {
      let isLocal = !localEndpoint.isEmpty && !peer.ipcEndpoint.isEmpty && peer.host == host
      guard !isLocal, pair != nil else {
        links.append(try connect(rank, isLocal ? peer.ipcEndpoint : peer.dataEndpoint, nil))
        continue
      }
      guard let keys = membership.keys else {
        throw CommunicationError(
          .notPermitted, "no keys came for the tcp link to \(membership.describe(rank))",
          hint: "run every worker with keys, or every worker and the coordinator with --insecure",
          location: membership.title)
      }
      links.append(try connect(rank, peer.dataEndpoint, (keys.own, keys.endpoints[rank])))
    }
  }

  private func connect(
    _ rank: Int, _ endpoint: String, _ protection: (own: CurveKeyPair, peer: CurvePublicKey)?
  ) throws -> Link {
    let dealer = try Socket(.dealer, options: options)
    dealer.setRoutingIdentity(PeerIdentity.fresh().bytes)
    if let protection { dealer.protect(as: protection.own, server: protection.peer) }
    let monitor = try SocketMonitor(dealer)
    do { try dealer.connect(endpoint) } catch {
      monitor.close()
      dealer.close()
      throw error
    }
    return Link(rank: rank, dealer: dealer, monitor: monitor, endpoint: endpoint, protection: protection)
  }

  func closeLinks() {
    for link in links {
      link.monitor.close()
      link.dealer.close()
    }
    links.removeAll()
    membership = nil
    for _ in 0..<sharing.end() { ledger.remove() }
    for port in ports { port.gate?.close() }
  }

  func close() {
    closeLinks()
    for port in ports { port.close() }
  }

  // MARK: Sending

  func lends(_ payload: UnsafeRawBufferPointer, to rank: Int) -> Bool {
    payload.count > Self.copyLimit && payload.count <= UInt32.max && links.contains { $0.rank == rank && $0.isReader }
      && SharedSegment.place(of: payload) != nil
  }

  func send(_ header: FrameHeader, payload: UnsafeRawBufferPointer, to rank: Int) -> Bool {
    guard let link = links.first(where: { $0.rank == rank }) else { return false }
    if link.isReader, header.kind == .partial || header.kind == .result, payload.count > Self.copyLimit,
      let (number, place) = sharing.lend(payload, to: rank)
    {
      ledger.add()
      var header = header
      header.loan = number
      return withUnsafeTemporaryAllocation(byteCount: SharedPlace.byteCount, alignment: 8) { bytes in
        guard let start = bytes.baseAddress else { return false }
        place.encode(into: start)
        return send(header, payload: UnsafeRawBufferPointer(bytes), over: link.dealer)
      }
    }
    return send(header, payload: payload, over: link.dealer)
  }

  func send(_ header: FrameHeader, payload: UnsafeRawBufferPointer, over dealer: Socket) -> Bool {
    dealer.checkOwner()
    header.encode(into: headerBytes)
    guard retry({ zmq_send(dealer.raw, headerBytes, FrameHeader.byteCount, ZMQ_DONTWAIT | ZMQ_SNDMORE) }) else {
      return false
    }
    guard payload.count > Self.copyLimit, let start = payload.baseAddress else {
      return retry { zmq_send(dealer.raw, payload.baseAddress, payload.count, ZMQ_DONTWAIT) }
    }
    ledger.add()
    let result = zmq_msg_init_data(
      outgoing, UnsafeMutableRawPointer(mutating: start), payload.count,
      { _, hint in
        guard let hint else { return }
        Unmanaged<SendLedger>.fromOpaque(hint).takeUnretainedValue().remove()
      }, ledgerHint.toOpaque())
    precondition(result == 0, "zmq_msg_init_data: \(Socket.lastError)")
    guard retry({ zmq_msg_send(outgoing, dealer.raw, ZMQ_DONTWAIT) }) else {
      zmq_msg_close(outgoing)
      return false
    }
    return true
  }

  private func retry(_ call: () -> Int32) -> Bool {
    while true {
      if call() >= 0 { return true }
      if zmq_errno() != EINTR { return false }
    }
  }

  // MARK: Receiving

  func poll(timeout: Duration?, _ deliver: (TransportEvent) -> Void) {
    returnReadLoans()
    pollSet.reset(wake: wake)
    for port in ports { pollSet.add(port.router) }
    for link in links {
      pollSet.add(link.monitor.pair)
      pollSet.add(link.dealer, output: !link.isLinked)
    }
    let retryAt = links.compactMap(\.retryAt).min()
    let untilRetry = retryAt.map { max(.zero, $0 - Self.clock.now) }
    pollSet.wait([timeout, untilRetry].compactMap { $0 }.min())
    wake.drain()
    // Losses first: a frame that a dead peer had sent is worth nothing, its generation is over.
    for event in linkEvents() { deliver(event) }
    // A bounded round, so that commands are not held up.
    for port in ports {
      for _ in 0..<64 {
        guard receive(from: port, deliver) else { break }
      }
    }
  }

  /// What became of the links since the last look; poll has filled the set in their order.
  private func linkEvents() -> [TransportEvent] {
    var events: [TransportEvent] = []
    for index in links.indices {
      if !links[index].isLinked, links[index].retryAt == nil, pollSet.canSend(1 + ports.count + 2 * index + 1) {
        links[index].isLinked = true
        offerMemory(over: links[index])
        events.append(.linked(rank: links[index].rank))
      }
      while let event = links[index].monitor.next() {
        switch event.kind {
        case .disconnected where links[index].isLinked:
          let endpoint = links[index].endpoint
          events.append(.lost(rank: links[index].rank, evidence: "the connection to \(endpoint) broke"))
        case .disconnected, .handshakeFailed, .handshakeDenied:
          links[index].retryAt = links[index].retryAt ?? Self.clock.now + .milliseconds(200)
        default: break
        }
      }
      if let due = links[index].retryAt, due <= Self.clock.now { replace(index) }
      acceptMemory(index)
    }
    return events
  }

  /// A socket whose handshake failed may never try again (libzmq 4.3.4): make a new one.
  private func replace(_ index: Int) {
    let link = links[index]
    link.monitor.close()
    link.dealer.close()
    if let fresh = try? connect(link.rank, link.endpoint, link.protection) {
      links[index] = fresh
    } else {
      links[index].retryAt = Self.clock.now + .seconds(1)
    }
  }

  /// Takes one message: identity, header, payload; anything else is dropped.
  ///
  /// Returns false when there is none.
  private func receive(from port: MeshPort, _ deliver: (TransportEvent) -> Void) -> Bool {
    let part = messages.take()
    guard receivePart(part, port) else {
      messages.give(part)
      return false
    }
    var link: UInt64?
    if zmq_msg_size(part) == 17, let data = zmq_msg_data(part) {
      link = data.loadUnaligned(fromByteOffset: 1, as: UInt64.self)
    }
    var header: FrameHeader?
    if zmq_msg_more(part) != 0, receivePart(part, port) {
      header = FrameHeader(decoding: UnsafeRawBufferPointer(start: zmq_msg_data(part), count: zmq_msg_size(part)))
    }
    guard zmq_msg_more(part) != 0, receivePart(part, port), zmq_msg_more(part) == 0, let link, let header,
      zmq_msg_size(part) == (header.loan == 0 ? Int(header.payloadByteCount) : SharedPlace.byteCount),
      port.confirms(header, part)
    else {
      while zmq_msg_more(part) != 0 && receivePart(part, port) {}
      messages.give(part)
      deliver(.garbage)
      return true
    }
    var payload = UnsafeRawBufferPointer(start: zmq_msg_data(part), count: zmq_msg_size(part))
    if header.kind.concernsMemory || header.loan != 0 {
      let event = takeMemory(header, &payload, from: port)
      if event != nil || header.kind.concernsMemory {
        messages.give(part)
        if let event { deliver(event) }
        return true
      }
    }
    deliver(.frame(Frame(header: header, link: link, payload: payload, storage: UnsafeMutableRawPointer(part))))
    return true
  }

  private func receivePart(_ part: UnsafeMutablePointer<zmq_msg_t>, _ port: MeshPort) -> Bool {
    retry { zmq_msg_recv(part, port.router.raw, ZMQ_DONTWAIT) }
  }

  func release(_ frame: Frame) {
    returnLoan(frame.header)
    messages.give(frame.storage.assumingMemoryBound(to: zmq_msg_t.self))
  }
}

/// Message handles that stay where they are, as libzmq wants it; their number grows to the most that were held at once.
struct MessagePool {
  private var free: [UnsafeMutablePointer<zmq_msg_t>] = []

  /// An empty message.
  mutating func take() -> UnsafeMutablePointer<zmq_msg_t> {
    let message = free.popLast() ?? .allocate(capacity: 1)
    zmq_msg_init(message)
    return message
  }

  /// Frees the content and keeps the handle.
  mutating func give(_ message: UnsafeMutablePointer<zmq_msg_t>) {
    zmq_msg_close(message)
    free.append(message)
  }
}
