// Who is at the other end of a control connection. One connection, one identity: a client that reconnects comes as a new one.

/// The routing identity of one connection to a `ControlServer`.
public struct PeerIdentity: Sendable, Hashable, CustomStringConvertible {
  let bytes: [UInt8]

  /// A fresh one; 128 random bits after a first byte that is not 0, which libzmq reserves.
  static func fresh() -> PeerIdentity {
    PeerIdentity(bytes: [0x54] + (0..<16).map { _ in UInt8.random(in: .min ... .max) })
  }

  /// The first bytes in hexadecimal, for logs.
  public var description: String {
    bytes.dropFirst().prefix(4).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }
}
