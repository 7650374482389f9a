// One ROUTER of a control server: the tcp endpoints or the ipc endpoints, which differ in how peers prove who they are.
// Each received frame carries the descriptor of its connection, and the monitor reports the descriptor of a lost one: so
// descriptors map to identities. libzmq reports a loss before it closes the descriptor; the monitor is read after each receive
// and before the frame is handled, so a frame that came by a reused descriptor finds the old loss already known, and no
// loss is blamed on the wrong peer. What a lost peer had sent is delivered before its loss.

/// Receives for a server's loop; used by the server's thread only.
final class ControlPort {
  let endpoints: [String]
  let router: Socket
  let monitor: SocketMonitor
  /// Who may come; nil for ports that ask for no key.
  private let access: AccessList?
  /// Whoever comes by a port that asks for no key.
  private let stranger: Principal
  private let domain: String?
  private var identities: [Int32: PeerIdentity] = [:]
  private var principals: [PeerIdentity: Principal] = [:]
  /// Losses that wait until what the peer had sent is delivered.
  private var lost: [PeerIdentity] = []
  /// Descriptors lost before a frame of theirs was handled, in this round.
  private var lostUnknown: Set<Int32> = []

  /// What a receive brought.
  enum Arrival {
    case introduced(PeerIdentity, Principal)
    case message(PeerIdentity, [UInt8])
    case garbage
    /// From a key that is not admitted any more, or under another's identity.
    case denied
  }

  /// Listens at endpoints of one kind, tcp or ipc.
  init(_ requested: [String], options: SocketOptions, security: ServerSecurity?) throws {
    router = try Socket(.router, options: options)
    let isTCP = requested.contains { $0.hasPrefix("tcp://") }
    if isTCP, case .curve(let pair, let list) = security {
      let domain = try Authenticator.shared().register(list)
      router.protect(as: pair, domain: domain)
      self.domain = domain
      access = list
    } else {
      domain = nil
      access = nil
      router.admitOwnUserOnly()
    }
    stranger = Principal(role: isTCP ? .anyone : .sameUser)
    monitor = try SocketMonitor(router)
    do { endpoints = try requested.map(router.bind) } catch {
      monitor.close()
      router.close()
      throw error
    }
  }

  func close() {
    monitor.close()
    router.close()
    if let domain { try? Authenticator.shared().unregister(domain) }
  }

  /// The next message, after the introduction of its sender if it is the first; nil when there is none.
  func receive(_ deliver: (Arrival) -> Void) -> Bool {
    guard let (parts, partCount, descriptor) = router.receive(maximumParts: 2) else { return false }
    takeMonitorEvents()
    guard let first = parts.first else { return true }
    let peer = PeerIdentity(bytes: first)
    introduce(peer, descriptor: descriptor)
    guard let principal = sender() else {
      deliver(.denied)
      return true
    }
    if let known = principals[peer] {
      // The identity is chosen by the peer and proves nothing: it stays with the key that came first.
      guard known.key == principal.key else {
        deliver(.denied)
        return true
      }
    } else {
      principals[peer] = principal
      deliver(.introduced(peer, principal))
    }
    deliver(partCount == 2 ? .message(peer, parts[1]) : .garbage)
    return true
  }

  /// Who sent what was received last; nil for a key that is not admitted any more.
  private func sender() -> Principal? {
    guard let access else { return stranger }
    return router.lastSender.flatMap(access.principal)
  }

  private func introduce(_ peer: PeerIdentity, descriptor: Int32) {
    guard descriptor >= 0, identities[descriptor] != peer, !lost.contains(peer) else { return }
    if lostUnknown.contains(descriptor) {
      lost.append(peer)  // it spoke and went before it was known
    } else if let earlier = identities.updateValue(peer, forKey: descriptor) {
      lost.append(earlier)
    }
  }

  func takeMonitorEvents() {
    while let event = monitor.next() {
      switch event.kind {
      case .accepted: lostUnknown.remove(event.value)
      case .disconnected:
        if let peer = identities.removeValue(forKey: event.value) {
          lost.append(peer)
        } else {
          lostUnknown.insert(event.value)
        }
      default: break
      }
    }
  }

  /// Peers that were introduced and are gone, once all they sent is delivered.
  func takeLosses() -> [PeerIdentity] {
    lostUnknown.removeAll()
    defer { lost.removeAll() }
    return lost.filter { principals.removeValue(forKey: $0) != nil }
  }

  func knows(_ peer: PeerIdentity) -> Bool { principals[peer] != nil }
}
