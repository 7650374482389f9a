// How a control server protects its tcp endpoints.

/// Encrypted with enrolled keys, or in the clear on loopback because somebody asked for it.
public enum ServerSecurity: Sendable {
  /// CURVE with this pair; only keys on the list are admitted.
  case curve(CurveKeyPair, AccessList)
  /// In the clear, loopback only (`--insecure`).
  case insecure

  /// Refuses a tcp endpoint that would be open to strangers or listens on every interface.
  static func check(_ endpoint: String, _ security: ServerSecurity?) throws {
    guard !Endpoint.isWildcard(host: Endpoint.host(of: endpoint)) else { throw wildcard(endpoint) }
    switch security {
    case .curve: return
    case .insecure: try Credentials.requireLoopback(endpoint)
    case nil:
      throw CommunicationError(
        .noKey, "a tcp endpoint needs the coordinator's key", hint: "make one: temper keys init", location: endpoint)
    }
  }

  /// The error of an endpoint on every interface.
  static func wildcard(_ endpoint: String) -> CommunicationError {
    CommunicationError(
      .badEndpoint, "it would listen on every interface",
      hint: "name one: an address of this machine such as 10.0.0.1, or an interface such as eth0", location: endpoint)
  }
}
