// A one-time token for a machine that has no key: the coordinator's public key and a secret key that admits its holder once.
// The token's own key opens a CURVE link on which only Enroll is taken, so nothing is parsed before somebody is known.

import Foundation

/// What a new machine is given, as one word of text.
public struct EnrollmentToken: Sendable, Hashable {
  /// What the new key will be for.
  public let role: KeyRole
  /// Whom the machine must find at the other end.
  public let coordinator: CurvePublicKey
  /// The key that admits it once.
  public let secret: CurveSecretKey

  /// Makes a token.
  public init(role: KeyRole, coordinator: CurvePublicKey, secret: CurveSecretKey) {
    self.role = role
    self.coordinator = coordinator
    self.secret = secret
  }

  /// The token: its role, a dot, then letters, digits, dash and underscore.
  public var text: String {
    let base64 = Data(coordinator.bytes + secret.bytes).base64EncodedString()
    let word = base64.replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
    return "\(role.rawValue).\(word.prefix(86))"
  }

  /// Reads a token, blanks around it allowed.
  ///
  /// - Throws: `badKey` when it is none or was cut.
  public init(_ text: String) throws {
    let parts = text.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: ".", maxSplits: 1)
    guard parts.count == 2, let role = KeyRole(rawValue: String(parts[0])), role != .coordinator,
      parts[1].utf8.count == 86,
      let bytes = Data(
        base64Encoded: parts[1].replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
          + "=="),
      let coordinator = CurvePublicKey(bytes.prefix(32)), let secret = CurveSecretKey(bytes.dropFirst(32))
    else {
      throw CommunicationError(
        .badKey, "this is not an enrollment token (\(text.utf8.count) characters)",
        hint: "paste the whole word that temper keys enroll printed; it begins with worker. or operator.")
    }
    self.init(role: role, coordinator: coordinator, secret: secret)
  }

  /// Makes a key pair, has it enrolled by the coordinator, and writes it to a file; the token is spent.
  ///
  /// - Parameters:
  ///   - endpoint: where the coordinator listens, tcp.
  ///   - folder: where `worker.key` or `operator.key` goes.
  ///   - timeout: for the coordinator's answer.
  /// - Returns: The enrolled key and its file.
  /// - Throws: `notPermitted` when the token is spent, revoked or too old, or a key is there already; `unreachable`, `system`.
  public func redeem(at endpoint: String, into folder: String, timeout: Duration) throws -> (key: KeyFile, path: String)
  {
    let path = "\(folder)/\(role.rawValue).key"
    // What can be found out before the token is spent.
    try PrivateFile.makeFolder(folder)
    let probe = "\(path).new"
    unlink(probe)
    try PrivateFile.create(probe, [])
    unlink(probe)
    guard !FileManager.default.fileExists(atPath: path) else {
      throw CommunicationError(
        .notPermitted, "there is a key already", hint: "keys are never overwritten: move the file away first",
        location: path)
    }
    let pair = CurveKeyPair.make()
    let client = try ControlClient(
      .init(endpoint: endpoint, security: .curve(CurveKeyPair(secret), coordinator: coordinator)))
    defer { client.close() }
    var request = WireEnvelope()
    request.enroll.publicKey = Data(pair.publicKey.bytes)
    let reply = try client.request(request, timeout: timeout).enrolled
    guard reply.role == role.rawValue else {
      throw CommunicationError(.malformed, "the coordinator enrolled a key as '\(reply.role)'", location: endpoint)
    }
    let key = KeyFile(role: role, name: reply.name, pair: pair, coordinator: coordinator)
    try key.write(path)
    return (key, path)
  }
}
