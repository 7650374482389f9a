// Curve25519 keys of CURVE, ZeroMQ's encryption: 32 bytes each, written in Z85 (40 printable characters, RFC 32/Z85).

import CZeroMQ

/// The public half of a key pair: who somebody is.
public struct CurvePublicKey: Sendable, Hashable, CustomStringConvertible {
  /// Bytes of a key.
  public static let byteCount = 32
  /// The key itself.
  public let bytes: [UInt8]

  /// Takes a key from its bytes; nil unless there are exactly 32.
  public init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == Self.byteCount else { return nil }
    self.bytes = Array(bytes)
  }

  /// Reads 40 characters of Z85; nil for anything else.
  public init?(z85 text: String) {
    guard let bytes = Z85.decode(text) else { return nil }
    self.bytes = bytes
  }

  /// The key as key files hold it.
  public var z85: String { Z85.encode(bytes) }

  /// The first eight bytes in hexadecimal: enough to tell keys apart, for lists and logs.
  public var fingerprint: String {
    bytes.prefix(8).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }

  /// The fingerprint.
  public var description: String { fingerprint }
}

/// The secret half of a key pair: whoever has it is its owner.
///
/// It is never printed: its description says only what it is.
public struct CurveSecretKey: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
  /// The key itself.
  public let bytes: [UInt8]

  /// Takes a key from its bytes; nil unless there are exactly 32.
  public init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == CurvePublicKey.byteCount else { return nil }
    self.bytes = Array(bytes)
  }

  /// Reads 40 characters of Z85; nil for anything else.
  public init?(z85 text: String) {
    guard let bytes = Z85.decode(text) else { return nil }
    self.bytes = bytes
  }

  /// The key as key files hold it.
  public var z85: String { Z85.encode(bytes) }
  /// Not the key.
  public var description: String { "secret key" }
  /// Not the key either.
  public var debugDescription: String { description }
}

/// Both halves.
public struct CurveKeyPair: Sendable, Hashable {
  /// Who the owner is.
  public let publicKey: CurvePublicKey
  /// What proves it.
  public let secretKey: CurveSecretKey

  /// A fresh pair from the system's random numbers.
  public static func make() -> CurveKeyPair {
    var publicText = [CChar](repeating: 0, count: 41)
    var secretText = [CChar](repeating: 0, count: 41)
    let result = zmq_curve_keypair(&publicText, &secretText)
    guard result == 0, let publicKey = CurvePublicKey(z85: Z85.text(publicText)),
      let secretKey = CurveSecretKey(z85: Z85.text(secretText))
    else { preconditionFailure("this libzmq has no CURVE: \(Socket.lastError)") }
    return CurveKeyPair(publicKey: publicKey, secretKey: secretKey)
  }

  /// The pair of a secret key.
  public init(_ secretKey: CurveSecretKey) {
    var publicText = [CChar](repeating: 0, count: 41)
    guard zmq_curve_public(&publicText, secretKey.z85) == 0, let publicKey = CurvePublicKey(z85: Z85.text(publicText))
    else { preconditionFailure("this libzmq has no CURVE: \(Socket.lastError)") }
    self.init(publicKey: publicKey, secretKey: secretKey)
  }

  private init(publicKey: CurvePublicKey, secretKey: CurveSecretKey) {
    self.publicKey = publicKey
    self.secretKey = secretKey
  }
}

/// Z85 of 32 bytes; the coding is libzmq's.
enum Z85 {
  private static let characterCount = 40

  static func encode(_ bytes: [UInt8]) -> String {
    var characters = [CChar](repeating: 0, count: characterCount + 1)
    guard bytes.count == CurvePublicKey.byteCount, zmq_z85_encode(&characters, bytes, bytes.count) != nil else {
      preconditionFailure("Z85 of \(bytes.count) bytes")
    }
    return text(characters)
  }

  static func decode(_ text: String) -> [UInt8]? {
    guard text.utf8.count == characterCount, text.utf8.allSatisfy({ (33...126).contains($0) }) else { return nil }
    var bytes = [UInt8](repeating: 0, count: CurvePublicKey.byteCount)
    guard zmq_z85_decode(&bytes, text) != nil else { return nil }
    return bytes
  }

  static func text(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
