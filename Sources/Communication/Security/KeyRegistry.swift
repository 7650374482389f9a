// The keys that a coordinator knows, in the folder `keys` of its directory:
//
//   coordinator.key   its own pair
//   enrolled.json     names, roles and public keys of everybody else, revoked ones included; pending tokens
//   lock              held while enrolled.json is changed
//
// Whoever may write the folder decides who is admitted: `temper keys` changes the file, the coordinator sees that it changed.
// So revoking works while the coordinator is stopped or cut off, and no key over the network can enroll another.

import Foundation
import Synchronization

/// The enrolled keys of one coordinator; from any process of its owner.
public final class KeyRegistry: Sendable {
  /// One enrolled key.
  public struct Entry: Sendable, Hashable, Codable {
    /// The name it was enrolled under; unique among keys that are not revoked.
    public var name: String
    /// What it may be used for.
    public var role: KeyRole
    /// The key in Z85.
    public var publicKey: String
    /// When it was enrolled.
    public var enrolledUnixSeconds: Int64
    /// When it was revoked; nil while it is admitted.
    public var revokedUnixSeconds: Int64?
  }

  /// One token that nobody has used yet.
  public struct PendingToken: Sendable, Hashable, Codable {
    /// The name that the new key will have.
    public var name: String
    /// What the new key will be for.
    public var role: KeyRole
    /// The token's own public key in Z85.
    public var publicKey: String
    /// From then on it admits nobody.
    public var expiresUnixSeconds: Int64
  }

  /// The content of `enrolled.json`.
  public struct Content: Sendable, Hashable, Codable {
    var version = 1
    /// Keys, in the order of their enrollment.
    public var keys: [Entry] = []
    /// Tokens that have not been used.
    public var tokens: [PendingToken] = []

    /// No keys.
    public init() {}
  }

  /// The longest file that is read: some 50,000 keys.
  private static let byteLimit = 16 << 20
  private static let version = 1

  /// The folder.
  public let folder: String
  /// The coordinator's own key.
  public let coordinator: KeyFile

  /// The folder of a coordinator's directory.
  public static func folder(in directory: String) -> String {
    URL(fileURLWithPath: directory).standardizedFileURL.path + "/keys"
  }

  /// Opens the registry of a coordinator's directory.
  ///
  /// - Throws: `noKey` when there is none yet, `notPermitted` when others can read its files, `badKey` when one is damaged.
  public init(directory: String) throws {
    folder = Self.folder(in: directory)
    do { coordinator = try KeyFile.read("\(folder)/coordinator.key") } catch let error as CommunicationError
      where error.code == .noKey
    {
      throw CommunicationError(
        .noKey, "this coordinator has no key", hint: "make one: temper keys init --directory \(directory)",
        location: folder)
    }
    guard coordinator.role == .coordinator else {
      throw CommunicationError(
        .badKey, "this is the key of \(coordinator.role.rawValue) \(coordinator.name)",
        hint: "restore the coordinator's own key", location: "\(folder)/coordinator.key")
    }
  }

  /// Makes the registry of a coordinator's directory, or opens the one that is there.
  ///
  /// - Returns: The registry, and whether it is new.
  /// - Throws: As `init(directory:)`, and `system` when files cannot be made.
  public static func make(directory: String) throws -> (registry: KeyRegistry, isNew: Bool) {
    do { return (try KeyRegistry(directory: directory), false) } catch let error as CommunicationError
      where error.code == .noKey
    {
      let folder = folder(in: directory)
      try PrivateFile.makeFolder(folder)
      try KeyFile(role: .coordinator, name: "coordinator", pair: .make()).write("\(folder)/coordinator.key")
      let registry = try KeyRegistry(directory: directory)
      try registry.change { _ in }
      return (registry, true)
    }
  }

  // MARK: Reading

  private var path: String { "\(folder)/enrolled.json" }

  /// All keys and tokens.
  ///
  /// - Throws: `notPermitted`, `badKey` when the file is damaged.
  public func content() throws -> Content {
    let bytes: [UInt8]
    do { bytes = try PrivateFile.read(path, limit: Self.byteLimit) } catch let error as CommunicationError
      where error.code == .noKey
    { return Content() }
    return try Self.decode(bytes, path: path)
  }

  /// Reads and checks the content of `enrolled.json`.
  public static func decode(_ bytes: [UInt8], path: String) throws -> Content {
    guard let content = try? JSONDecoder().decode(Content.self, from: Data(bytes)), content.version == version,
      content.keys.allSatisfy({ CurvePublicKey(z85: $0.publicKey) != nil && $0.role != .coordinator }),
      content.tokens.allSatisfy({ CurvePublicKey(z85: $0.publicKey) != nil && $0.role != .coordinator })
    else {
      throw CommunicationError(
        .badKey, "the list of keys is damaged", hint: "restore it from a backup, or remove it and enroll keys anew",
        location: path)
    }
    return content
  }

  /// A mark that differs whenever the file was replaced.
  public var stamp: String {
    var status = stat()
    guard stat(path, &status) == 0 else { return "none" }
    return "\(status.st_ino)/\(status.st_size)/\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
  }

  // MARK: Changing

  /// Enrolls a key.
  ///
  /// - Throws: `notPermitted` when the name is taken or the key was revoked, `badKey` for a name that cannot be one.
  @discardableResult
  public func enroll(name: String, role: KeyRole, key: CurvePublicKey) throws -> Entry {
    try change { try $0.enroll(name: name, role: role, key: key, path: folder) }
  }

  /// Makes a token that enrolls one key under a name.
  ///
  /// - Throws: `notPermitted` when the name is taken, `badKey` for a name that cannot be one.
  public func issueToken(name: String, role: KeyRole, validFor: Duration) throws -> EnrollmentToken {
    let pair = CurveKeyPair.make()
    try change { content in
      try content.checkName(name, path: folder)
      content.tokens.removeAll { $0.name == name || $0.expiresUnixSeconds <= Self.now }
      content.tokens.append(
        PendingToken(
          name: name, role: role, publicKey: pair.publicKey.z85,
          expiresUnixSeconds: Self.now + validFor.components.seconds))
    }
    return EnrollmentToken(role: role, coordinator: coordinator.pair.publicKey, secret: pair.secretKey)
  }

  /// Enrolls a key in exchange for a token, which is spent.
  ///
  /// - Throws: `notPermitted` when the token is unknown, spent or too old.
  public func redeem(token: CurvePublicKey, for key: CurvePublicKey) throws -> Entry {
    try change { content in
      guard let index = content.tokens.firstIndex(where: { $0.publicKey == token.z85 }),
        content.tokens[index].expiresUnixSeconds > Self.now
      else {
        throw CommunicationError(
          .notPermitted, "this token is spent, withdrawn or too old", hint: "ask for a new one: temper keys enroll",
          location: folder)
      }
      let token = content.tokens.remove(at: index)
      return try content.enroll(name: token.name, role: token.role, key: key, path: folder)
    }
  }

  /// Revokes whatever is admitted under a name, tokens included; returns the keys.
  ///
  /// - Throws: `noKey` when the name is not known, with the names that are.
  @discardableResult
  public func revoke(name: String) throws -> [Entry] {
    try change { content in
      let indices = content.keys.indices.filter {
        content.keys[$0].name == name && content.keys[$0].revokedUnixSeconds == nil
      }
      let tokenCount = content.tokens.count
      content.tokens.removeAll { $0.name == name }
      guard !indices.isEmpty || content.tokens.count < tokenCount else {
        let known = content.keys.filter { $0.revokedUnixSeconds == nil }.map(\.name).joined(separator: ", ")
        throw CommunicationError(
          .noKey, "no key is enrolled as '\(name)'",
          hint: known.isEmpty ? "no key is enrolled at all" : "enrolled are: \(known)", location: folder)
      }
      for index in indices { content.keys[index].revokedUnixSeconds = Self.now }
      return indices.map { content.keys[$0] }
    }
  }

  private static var now: Int64 { Int64(Date().timeIntervalSince1970) }

  @discardableResult
  private func change<Result>(_ body: (inout Content) throws -> Result) throws -> Result {
    let lock = open("\(folder)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard lock >= 0 else {
      throw CommunicationError(
        .notPermitted, "the keys cannot be changed: \(String(cString: strerror(errno)))",
        hint: "run as the owner of the coordinator's directory", location: folder)
    }
    defer { close(lock) }
    while flock(lock, LOCK_EX) != 0 {
      guard errno == EINTR else { throw CommunicationError(.system, "flock: \(errno)", location: folder) }
    }
    var content = try content()
    let result = try body(&content)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try PrivateFile.replace(path, Array(try encoder.encode(content)) + [UInt8(ascii: "\n")])
    return result
  }
}

extension KeyRegistry.Content {
  /// Who is admitted at a moment.
  public func principals(atUnixSeconds now: Int64) -> [CurvePublicKey: Principal] {
    var principals: [CurvePublicKey: Principal] = [:]
    for token in tokens where token.expiresUnixSeconds > now {
      guard let key = CurvePublicKey(z85: token.publicKey) else { continue }
      principals[key] = Principal(role: .token(token.role), name: token.name, key: key)
    }
    for entry in keys where entry.revokedUnixSeconds == nil {
      guard let key = CurvePublicKey(z85: entry.publicKey) else { continue }
      principals[key] = Principal(role: .enrolled(entry.role), name: entry.name, key: key)
    }
    return principals
  }

  fileprivate func checkName(_ name: String, path: String) throws {
    let isPlain = name.utf8.allSatisfy { byte in
      switch UInt8(byte) {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
        true
      default: false
      }
    }
    guard isPlain, (1...64).contains(name.utf8.count) else {
      throw CommunicationError(
        .badKey, "'\(name)' cannot be the name of a key",
        hint: "give 1 to 64 letters, digits, dots, dashes and underscores", location: path)
    }
    guard !keys.contains(where: { $0.name == name && $0.revokedUnixSeconds == nil }) else {
      throw CommunicationError(
        .notPermitted, "a key is enrolled as '\(name)' already",
        hint: "choose another name, or revoke it first: temper keys revoke \(name)", location: path)
    }
  }

  fileprivate mutating func enroll(
    name: String, role: KeyRole, key: CurvePublicKey, path: String
  ) throws -> KeyRegistry.Entry {
    try checkName(name, path: path)
    if let known = keys.first(where: { $0.publicKey == key.z85 }) {
      let isRevoked = known.revokedUnixSeconds != nil
      throw CommunicationError(
        .notPermitted, "this key was enrolled as '\(known.name)'\(isRevoked ? " and revoked" : "")",
        hint: "make a fresh key; a key has one owner", location: path)
    }
    let entry = KeyRegistry.Entry(
      name: name, role: role, publicKey: key.z85, enrolledUnixSeconds: Int64(Date().timeIntervalSince1970),
      revokedUnixSeconds: nil)
    keys.append(entry)
    return entry
  }
}
