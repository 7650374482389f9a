// A thin typed wrapper over one ZeroMQ socket that obeys the rules of the design, section 7.4.
// Each rule there was learnt from a reproduced fault of libzmq 4.3.4; the reasons stand beside the options.

import CZeroMQ
import Foundation

/// Options of a socket that differ by plane; the ones that never differ are set by `Socket.init`.
struct SocketOptions {
  /// Longest frame accepted; libzmq disconnects whoever sends a longer one, before allocating it.
  var maximumFrameByteCount: Int64
  /// ZMTP heartbeats: only a fast path for dead links, because libzmq's I/O thread answers for a hung program.
  var heartbeat: Duration = .seconds(1)
  /// A link without any traffic for this long is dropped.
  var heartbeatTimeout: Duration = .seconds(3)
  /// First wait before connecting again; below 100 ms a socket can connect to itself (libzmq #4599).
  var reconnect: Duration = .milliseconds(100)
  /// Longest wait before connecting again; libzmq's default has no back-off.
  var reconnectMaximum: Duration = .seconds(1)
}

/// A ZeroMQ socket, owned by the thread that made it; use from another thread stops a debug build.
final class Socket {
  /// The patterns in use: ROUTER and DEALER between processes, PAIR for monitors.
  enum Kind { case dealer, router, pair }

  /// What became of a send that never waits.
  enum SendResult { case sent, wouldBlock, unreachable }

  let raw: UnsafeMutableRawPointer
  private let message: UnsafeMutablePointer<zmq_msg_t>
  private var isClosed = false
  /// Whether senders are asked for their keys; set by `protect`.
  var knowsSenders = false
  /// The key that the sender of the last received message has proven; nil on sockets that ask for none.
  private(set) var lastSender: CurvePublicKey?
  #if DEBUG
    private let owner = pthread_self()
  #endif

  init(_ kind: Kind, options: SocketOptions? = nil) throws {
    let type =
      switch kind {
      case .dealer: ZMQ_DEALER
      case .router: ZMQ_ROUTER
      case .pair: ZMQ_PAIR
      }
    guard let raw = zmq_socket(MessagingContext.shared.raw, type) else { throw Self.systemError("zmq_socket") }
    self.raw = raw
    message = .allocate(capacity: 1)
    // Never wait for undelivered frames at close: whoever needs them has lost the generation anyway.
    set(ZMQ_LINGER, 0)
    // A finite RCVHWM together with ZMTP heartbeats aborts the process (libzmq #3937); windows of our own bound memory.
    set(ZMQ_RCVHWM, 0)
    set(ZMQ_SNDHWM, 0)
    if kind == .dealer { set(ZMQ_IMMEDIATE, 1) }  // queue nothing for a peer that is not there
    if kind == .router {
      set(ZMQ_ROUTER_MANDATORY, 1)  // sending to nobody is an error, not a silent drop
      set(ZMQ_ROUTER_HANDOVER, 0)
    }
    guard let options else { return }
    // CURVE wraps a frame in 33 bytes.
    var maximum = options.maximumFrameByteCount + 64
    zmq_setsockopt(raw, ZMQ_MAXMSGSIZE, &maximum, MemoryLayout<Int64>.size)
    set(ZMQ_HANDSHAKE_IVL, 5_000)
    set(ZMQ_RECONNECT_IVL, max(100, options.reconnect.wholeMilliseconds))
    set(ZMQ_RECONNECT_IVL_MAX, options.reconnectMaximum.wholeMilliseconds)
    set(ZMQ_CONNECT_TIMEOUT, 3_000)
    set(ZMQ_TCP_MAXRT, 10_000)
    set(ZMQ_TCP_KEEPALIVE, 1)
    set(ZMQ_HEARTBEAT_IVL, options.heartbeat.wholeMilliseconds)
    set(ZMQ_HEARTBEAT_TIMEOUT, options.heartbeatTimeout.wholeMilliseconds)
    // The time the peer waits for us: several intervals, or busy links storm (and 65,600 ms or more overflow, #4226).
    set(ZMQ_HEARTBEAT_TTL, min(60_000, options.heartbeat.wholeMilliseconds * 10))
  }

  deinit {
    close()
    message.deallocate()
  }

  func close() {
    guard !isClosed else { return }
    isClosed = true
    checkOwner()
    zmq_close(raw)
  }

  func checkOwner() {
    #if DEBUG
      assert(pthread_equal(owner, pthread_self()) != 0, "a ZeroMQ socket was used outside the thread that owns it")
    #endif
  }

  func set(_ option: Int32, _ value: Int32) {
    var value = value
    let result = zmq_setsockopt(raw, option, &value, MemoryLayout<Int32>.size)
    precondition(result == 0, "zmq_setsockopt(\(option), \(value)): \(Self.lastError)")
  }

  /// The identity under which a ROUTER sees this DEALER; fresh for every connection, 1 to 255 bytes, not beginning with 0.
  func setRoutingIdentity(_ identity: [UInt8]) {
    let result = zmq_setsockopt(raw, ZMQ_ROUTING_ID, identity, identity.count)
    precondition(result == 0, "zmq_setsockopt(ROUTING_ID): \(Self.lastError)")
  }

  /// Listens at an endpoint; `tcp://interface:*` takes a free port below 32768.
  ///
  /// Returns where it listens.
  ///
  /// - Throws: `addressInUse`, `badEndpoint` or `system`, each naming the endpoint.
  func bind(_ endpoint: String) throws -> String {
    checkOwner()
    try Self.checkSyntax(endpoint)
    if endpoint.hasSuffix(":*") {
      return try bindFreePort(String(endpoint.dropLast()))
    }
    if zmq_bind(raw, endpoint) == 0 { return endpoint.hasPrefix("tcp://") ? lastEndpoint ?? endpoint : endpoint }
    switch zmq_errno() {
    case EADDRINUSE:
      throw CommunicationError(
        .addressInUse, "another process listens there already",
        hint: "stop it, or choose another port below 32768", location: endpoint)
    case EINVAL, EPROTONOSUPPORT, ENODEV, EADDRNOTAVAIL, ENAMETOOLONG, ENOENT, EACCES:
      throw CommunicationError(
        .badEndpoint, "cannot listen there: \(Self.lastError)",
        hint:
          "give tcp://ADDRESS:PORT with an address of this machine, or ipc:///ABSOLUTE/PATH of at most 107 characters",
        location: endpoint)
    default: throw Self.systemError("zmq_bind", location: endpoint)
    }
  }

  /// Where the last bind listens, with the address of an interface that was given by its name.
  private var lastEndpoint: String? {
    var text = [CChar](repeating: 0, count: 256)
    var count = text.count
    guard zmq_getsockopt(raw, ZMQ_LAST_ENDPOINT, &text, &count) == 0 else { return nil }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Begins to stop listening at an endpoint; the monitor says `closed` when it is done.
  func unbind(_ endpoint: String) -> Bool {
    checkOwner()
    return zmq_unbind(raw, endpoint) == 0
  }

  /// Ports outside the ephemeral range (32768 and up), where a connecting socket could meet itself (libzmq #4599).
  private static let ports = TCPProbe.workerPorts

  private func bindFreePort(_ prefix: String) throws -> String {
    var port = Int.random(in: Self.ports)
    for _ in 0..<Self.ports.count {
      let endpoint = "\(prefix)\(port)"
      do { return try bind(endpoint) } catch let error as CommunicationError where error.code == .addressInUse {
        port = port + 1 == Self.ports.upperBound ? Self.ports.lowerBound : port + 1
      }
    }
    throw CommunicationError(.addressInUse, "no free port in \(Self.ports)", location: prefix)
  }

  /// libzmq reports some malformed endpoints with whatever error came before, so they are found here.
  private static func checkSyntax(_ endpoint: String) throws {
    if endpoint.hasPrefix("inproc://") { return }
    if endpoint.hasPrefix("ipc:///"), endpoint.utf8.count <= 6 + 107 { return }
    if endpoint.hasPrefix("tcp://"), let colon = endpoint.lastIndex(of: ":"),
      endpoint.distance(from: endpoint.startIndex, to: colon) > 6
    {
      let port = endpoint[endpoint.index(after: colon)...]
      if port == "*" || (1...65_535).contains(Int(port) ?? 0) { return }
    }
    throw CommunicationError(
      .badEndpoint, "it is not an endpoint",
      hint: "give tcp://ADDRESS:PORT, or ipc:///ABSOLUTE/PATH of at most 107 characters",
      location: endpoint)
  }

  func connect(_ endpoint: String) throws {
    checkOwner()
    try Self.checkSyntax(endpoint)
    guard zmq_connect(raw, endpoint) == 0 else {
      throw CommunicationError(
        .badEndpoint, "cannot connect there: \(Self.lastError)", hint: "check the address", location: endpoint)
    }
  }

  /// Sends one part, copying the bytes; never waits.
  func send(_ bytes: [UInt8], more: Bool = false) -> SendResult {
    checkOwner()
    while true {
      if zmq_send(raw, bytes, bytes.count, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0 { return .sent }
      switch zmq_errno() {
      case EINTR: continue
      case EAGAIN: return .wouldBlock
      default: return .unreachable
      }
    }
  }

  /// The next whole message, at most `maximumParts` parts of it kept, and the descriptor of the connection it came by.
  ///
  /// nil when there is none; never waits.
  func receive(maximumParts: Int) -> (parts: [[UInt8]], partCount: Int, descriptor: Int32)? {
    checkOwner()
    var parts: [[UInt8]] = []
    var count = 0
    var descriptor: Int32 = -1
    while true {
      zmq_msg_init(message)
      defer { zmq_msg_close(message) }
      while zmq_msg_recv(message, raw, ZMQ_DONTWAIT) < 0 {
        if zmq_errno() != EINTR { return nil }
      }
      count += 1
      if count <= maximumParts {
        parts.append([UInt8](UnsafeRawBufferPointer(start: zmq_msg_data(message), count: zmq_msg_size(message))))
      }
      descriptor = zmq_msg_get(message, ZMQ_SRCFD)
      if zmq_msg_more(message) == 0 {
        // From the last part: libzmq 4.3.4 may lose the metadata of a ROUTER's first one.
        lastSender = knowsSenders ? Self.sender(of: message) : nil
        return (parts, count, descriptor)
      }
    }
  }

  /// The key that the sender of a message has proven; nil on sockets that ask for none.
  static func sender(of message: UnsafeMutablePointer<zmq_msg_t>) -> CurvePublicKey? {
    zmq_msg_gets(message, "User-Id").flatMap { CurvePublicKey(z85: String(cString: $0)) }
  }

  static var lastError: String { String(cString: zmq_strerror(zmq_errno())) }

  static func systemError(_ call: String, location: String = "") -> CommunicationError {
    CommunicationError(.system, "\(call): \(lastError)", location: location)
  }
}

extension Duration {
  /// Milliseconds, rounded down, within Int32.
  var wholeMilliseconds: Int32 {
    let (seconds, attoseconds) = components
    return Int32(
      clamping: seconds.multipliedReportingOverflow(by: 1_000).partialValue + attoseconds / 1_000_000_000_000_000)
  }

  /// Seconds as a number, for messages.
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
