// Where a member's peers connect to: a ROUTER for tcp, which encrypts and knows its peers by their keys, and one for ipc, which
// takes processes of the same user.

import CZeroMQ
import Foundation

/// One listening socket of the mesh; the mesh thread's.
struct MeshPort {
  let router: Socket
  /// Where peers connect to.
  let endpoint: String
  /// Nil when the port asks for no keys.
  let gate: LinkGate?
  private let domain: String?
  private let path: String?
  /// Whether it takes processes of this user on this machine only.
  var isLocal: Bool { path != nil }

  /// Listens on tcp, at a free port of an interface.
  ///
  /// - Parameter pair: the key of the endpoint; nil for links in the clear, on loopback only.
  static func tcp(interface: String, pair: CurveKeyPair?, options: SocketOptions) throws -> MeshPort {
    let endpoint = "tcp://\(interface):*"
    guard !Endpoint.isWildcard(host: interface) else { throw ServerSecurity.wildcard(endpoint) }
    if pair == nil { try Credentials.requireLoopback(endpoint) }
    let router = try Socket(.router, options: options)
    guard let pair else {
      return MeshPort(router: router, endpoint: try router.bind(endpoint), gate: nil, domain: nil, path: nil)
    }
    let gate = LinkGate()
    let domain = try Authenticator.shared().register(gate)
    router.protect(as: pair, domain: domain)
    return MeshPort(router: router, endpoint: try router.bind(endpoint), gate: gate, domain: domain, path: nil)
  }

  /// Listens on ipc.
  static func ipc(path: String, options: SocketOptions) throws -> MeshPort {
    let router = try Socket(.router, options: options)
    router.admitOwnUserOnly()
    return MeshPort(router: router, endpoint: try router.bind("ipc://\(path)"), gate: nil, domain: nil, path: path)
  }

  /// Admits the members of a generation.
  func open(_ membership: MeshMembership) throws {
    guard let gate, let keys = membership.keys else { return }
    gate.open(membership, keys)
    try Authenticator.shared().gateChanged()
  }

  /// Whether a message comes from whom its header names; only a peer's first frame has to be asked.
  func confirms(_ header: FrameHeader, _ message: UnsafeMutablePointer<zmq_msg_t>) -> Bool {
    guard let gate, header.kind == .hello else { return true }
    return Socket.sender(of: message).map { gate.confirms(header, from: $0) } ?? false
  }

  func close() {
    router.close()
    if let domain { try? Authenticator.shared().unregister(domain) }
    if let path { unlink(path) }
  }
}
