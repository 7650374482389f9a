// A key pair in a file: JSON of a few lines, readable by its owner only. A file that others can read is refused, because its
// key must be taken for known.

import Foundation

/// A key pair with what it is for.
public struct KeyFile: Sendable, Hashable {
  /// What the key is used for.
  public var role: KeyRole
  /// The name it is enrolled under.
  public var name: String
  /// The key.
  public var pair: CurveKeyPair
  /// The coordinator that the key is enrolled with; nil in the coordinator's own file.
  public var coordinator: CurvePublicKey?

  /// Makes a key file's content.
  public init(role: KeyRole, name: String, pair: CurveKeyPair, coordinator: CurvePublicKey? = nil) {
    self.role = role
    self.name = name
    self.pair = pair
    self.coordinator = coordinator
  }

  private struct Content: Codable {
    var role: String
    var name: String
    var publicKey: String
    var secretKey: String
    var coordinatorKey: String?
  }

  private static let byteLimit = 4_096

  /// Reads a key file.
  ///
  /// - Throws: `noKey` when there is none, `notPermitted` when others can read it, `badKey` when it is no key file.
  public static func read(_ path: String) throws -> KeyFile {
    try decode(try PrivateFile.read(path, limit: byteLimit), path: path)
  }

  /// Reads and checks the content of a key file.
  public static func decode(_ bytes: [UInt8], path: String) throws -> KeyFile {
    guard let content = try? JSONDecoder().decode(Content.self, from: Data(bytes)),
      let role = KeyRole(rawValue: content.role), let secret = CurveSecretKey(z85: content.secretKey)
    else { throw damaged(path, "it is not a key file") }
    let pair = CurveKeyPair(secret)
    guard pair.publicKey.z85 == content.publicKey else { throw damaged(path, "its two keys do not belong together") }
    let coordinator = content.coordinatorKey.flatMap { CurvePublicKey(z85: $0) }
    guard role == .coordinator || coordinator != nil else { throw damaged(path, "it names no coordinator") }
    return KeyFile(role: role, name: content.name, pair: pair, coordinator: coordinator)
  }

  /// Writes a new key file that only this user can read; the folder is made if missing.
  ///
  /// - Throws: `notPermitted` when there is a file already, `system` when it cannot be written.
  public func write(_ path: String) throws {
    let content = Content(
      role: role.rawValue, name: name, publicKey: pair.publicKey.z85, secretKey: pair.secretKey.z85,
      coordinatorKey: coordinator?.z85)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try PrivateFile.makeFolder((path as NSString).deletingLastPathComponent)
    try PrivateFile.create(path, Array(try encoder.encode(content)) + [UInt8(ascii: "\n")])
  }

  private static func damaged(_ path: String, _ problem: String) -> CommunicationError {
    CommunicationError(
      .badKey, problem, hint: "make a new one: temper keys enroll on the coordinator's machine, temper keys join here",
      location: path)
  }
}

/// Files of one user.
enum PrivateFile {
  /// The bytes of a file that belongs to this user (or root) and is closed to everybody else.
  static func read(_ path: String, limit: Int) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      let isMissing = errno == ENOENT || errno == ENOTDIR
      throw CommunicationError(
        isMissing ? .noKey : .notPermitted,
        isMissing ? "there is no such file" : "it cannot be read: \(String(cString: strerror(errno)))",
        hint: isMissing ? "" : "run as the owner of the file", location: path)
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw CommunicationError(.badKey, "it is not a file", hint: "name the file, or its folder", location: path)
    }
    guard status.st_mode & 0o077 == 0 else {
      throw CommunicationError(
        .notPermitted, "others can read or write it (mode \(String(status.st_mode & 0o777, radix: 8)))",
        hint: "chmod 600 \(path); if others may have seen it, revoke it and enroll a new one", location: path)
    }
    guard status.st_uid == geteuid() || status.st_uid == 0 else {
      throw CommunicationError(
        .notPermitted, "it belongs to user \(status.st_uid), this process runs as \(geteuid())",
        hint: "run as that user (runuser -u NAME), or chown it to the one that runs this program", location: path)
    }
    guard status.st_size <= limit else {
      throw CommunicationError(
        .badKey, "\(status.st_size) bytes; the limit is \(limit)", hint: "name the right file", location: path)
    }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    guard Glibc.read(descriptor, &bytes, bytes.count) == bytes.count else {
      throw CommunicationError(.system, "it cannot be read: \(String(cString: strerror(errno)))", location: path)
    }
    return bytes
  }

  /// Writes a file that must not exist yet, mode 600, durable when it returns.
  static func create(_ path: String, _ bytes: [UInt8]) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else {
      throw CommunicationError(
        errno == EEXIST ? .notPermitted : .system, "it cannot be made: \(String(cString: strerror(errno)))",
        hint: errno == EEXIST ? "keys are never overwritten: move the file away first" : "choose another folder",
        location: path)
    }
    defer { close(descriptor) }
    guard write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0 else {
      let reason = String(cString: strerror(errno))
      unlink(path)
      throw CommunicationError(.system, "it cannot be written: \(reason)", hint: "free space", location: path)
    }
  }

  /// Replaces a file as a whole.
  static func replace(_ path: String, _ bytes: [UInt8]) throws {
    let temporary = path + ".new"
    unlink(temporary)
    try create(temporary, bytes)
    guard rename(temporary, path) == 0 else { throw failure("it cannot be replaced", path) }
    let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer { close(folder) }
    guard folder >= 0, fsync(folder) == 0 else { throw failure("its folder cannot be written", path) }
  }

  /// Makes a folder, and those above it, open to this user only.
  static func makeFolder(_ path: String) throws {
    guard !path.isEmpty, !FileManager.default.fileExists(atPath: path) else { return }
    do {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw CommunicationError(
        .system, "the folder cannot be made", hint: "choose another with --keys", location: path, cause: error)
    }
  }

  private static func failure(_ what: String, _ path: String) -> CommunicationError {
    CommunicationError(.system, "\(what): \(String(cString: strerror(errno)))", location: path)
  }
}
