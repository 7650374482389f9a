import Foundation
import Testing

@testable import Communication

/// A folder that goes with the test.
final class ScratchFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "temper-keys-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

@Suite("Keys")
struct KeyTests {
  private let scratch: ScratchFolder

  init() throws { scratch = try ScratchFolder() }

  private func mode(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? -1
  }

  @Test("a pair is the pair of its secret key, in Z85 and back; nothing prints the secret")
  func pairs() throws {
    for _ in 0..<20 {
      let pair = CurveKeyPair.make()
      #expect(CurveKeyPair(pair.secretKey) == pair)
      #expect(CurvePublicKey(z85: pair.publicKey.z85) == pair.publicKey && pair.publicKey.z85.utf8.count == 40)
      #expect(!"\(pair)".contains(pair.secretKey.z85))
      #expect(!String(reflecting: pair.secretKey).contains(pair.secretKey.z85))
    }
  }

  @Test(
    "what is not a key is refused",
    arguments: [
      "", "x", String(repeating: "0", count: 39), String(repeating: "0", count: 41), String(repeating: "~", count: 40),
      String(repeating: "ü", count: 20), String(repeating: "#", count: 40),
    ])
  func badKeys(text: String) {
    #expect(CurvePublicKey(z85: text) == nil)
    #expect(CurveSecretKey(z85: text) == nil)
  }

  @Test("a key file comes back as it was written, closed to others, and is never overwritten")
  func keyFiles() throws {
    let path = scratch.path + "/a/b/worker.key"
    let key = KeyFile(role: .worker, name: "m", pair: .make(), coordinator: CurveKeyPair.make().publicKey)
    try key.write(path)
    #expect(try KeyFile.read(path) == key)
    #expect(try mode(path) == 0o600)
    #expect(try mode(scratch.path + "/a/b") == 0o700)
    let error = #expect(throws: CommunicationError.self) { try key.write(path) }
    #expect(error?.code == .notPermitted && error?.exitCode == 77)
    #expect(try KeyFile.read(path) == key)
  }

  @Test(
    "a key file that others can read is refused with the remedy and exit code 77",
    arguments: [0o640, 0o604, 0o620, 0o666])
  func openKeyFiles(mode: Int) throws {
    let path = scratch.path + "/worker.key"
    try KeyFile(role: .worker, name: "m", pair: .make(), coordinator: CurveKeyPair.make().publicKey).write(path)
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    let error = #expect(throws: CommunicationError.self) { try KeyFile.read(path) }
    #expect(error?.code == .notPermitted && error?.exitCode == 77)
    #expect(error?.description.contains("chmod 600 \(path)") == true)
    #expect(error?.message.contains(String(mode, radix: 8)) == true)
  }

  @Test("a key file of another user is refused", .enabled(if: geteuid() == 0))
  func foreignKeyFiles() throws {
    let path = scratch.path + "/worker.key"
    try KeyFile(role: .worker, name: "m", pair: .make(), coordinator: CurveKeyPair.make().publicKey).write(path)
    try FileManager.default.setAttributes([.ownerAccountID: 65_534], ofItemAtPath: path)
    let error = #expect(throws: CommunicationError.self) { try KeyFile.read(path) }
    #expect(error?.code == .notPermitted && error?.message.contains("belongs to user 65534") == true)
  }

  @Test("damaged key files are refused with exit code 78, each with what is wrong")
  func damagedKeyFiles() throws {
    let pair = CurveKeyPair.make()
    let other = CurveKeyPair.make().publicKey.z85
    let texts = [
      "": "it is not a key file", "{}": "it is not a key file", "[1]": "it is not a key file",
      #"{"role":"boss","name":"m","publicKey":"x","secretKey":"\#(pair.secretKey.z85)"}"#: "it is not a key file",
      #"{"role":"worker","name":"m","publicKey":"\#(other)","secretKey":"\#(pair.secretKey.z85)"}"#:
        "its two keys do not belong together",
      #"{"role":"worker","name":"m","publicKey":"\#(pair.publicKey.z85)","secretKey":"\#(pair.secretKey.z85)"}"#:
        "it names no coordinator",
      String(repeating: " ", count: 5_000): "5000 bytes; the limit is 4096",
    ]
    for (index, (text, problem)) in texts.enumerated() {
      let path = scratch.path + "/\(index).key"
      try PrivateFile.create(path, Array(text.utf8))
      let error = #expect(throws: CommunicationError.self) { try KeyFile.read(path) }
      #expect(error?.code == .badKey && error?.exitCode == 78 && error?.message == problem && error?.location == path)
    }
    #expect(throws: CommunicationError.self) { try KeyFile.read(scratch.path) }
    let missing = #expect(throws: CommunicationError.self) { try KeyFile.read(scratch.path + "/none") }
    #expect(missing?.code == .noKey && missing?.exitCode == 77)
  }

  @Test("a token is one word and comes back; a cut or changed one is refused")
  func tokens() throws {
    for role in [KeyRole.worker, .operator] {
      let token = EnrollmentToken(
        role: role, coordinator: CurveKeyPair.make().publicKey, secret: CurveKeyPair.make().secretKey)
      #expect(try EnrollmentToken("  \(token.text)\n") == token)
      #expect(token.text.allSatisfy { $0.isLetter || $0.isNumber || ".-_".contains($0) })
      for cut in 0..<token.text.utf8.count {
        #expect(throws: CommunicationError.self) { try EnrollmentToken(String(token.text.prefix(cut))) }
      }
    }
    #expect(throws: CommunicationError.self) { try EnrollmentToken("coordinator." + String(repeating: "A", count: 86)) }
    #expect(throws: CommunicationError.self) { try EnrollmentToken("worker." + String(repeating: "*", count: 86)) }
  }

  @Test("enrolled keys are admitted until they are revoked, and never again")
  func registry() throws {
    #expect(throws: CommunicationError.self) { try KeyRegistry(directory: scratch.path) }
    let (registry, isNew) = try KeyRegistry.make(directory: scratch.path)
    #expect(isNew)
    #expect(try !KeyRegistry.make(directory: scratch.path).isNew)
    let key = CurveKeyPair.make().publicKey
    let before = registry.stamp
    try registry.enroll(name: "m-1", role: .worker, key: key)
    #expect(registry.stamp != before)
    #expect(try registry.content().principals(atUnixSeconds: 0)[key]?.role == .enrolled(.worker))
    #expect(try mode(registry.folder + "/enrolled.json") == 0o600)
    #expect(try mode(registry.folder) == 0o700)
    let taken = #expect(throws: CommunicationError.self) {
      try registry.enroll(name: "m-1", role: .worker, key: CurveKeyPair.make().publicKey)
    }
    #expect(taken?.message == "a key is enrolled as 'm-1' already")
    for name in ["", "a b", "../x", "ü", String(repeating: "x", count: 65)] {
      let error = #expect(throws: CommunicationError.self) {
        try registry.enroll(name: name, role: .worker, key: CurveKeyPair.make().publicKey)
      }
      #expect(error?.code == .badKey)
    }
    #expect(try registry.revoke(name: "m-1").map(\.publicKey) == [key.z85])
    #expect(try registry.content().principals(atUnixSeconds: 0).isEmpty)
    let again = #expect(throws: CommunicationError.self) { try registry.enroll(name: "m-2", role: .worker, key: key) }
    #expect(again?.message == "this key was enrolled as 'm-1' and revoked")
    try registry.enroll(name: "m-1", role: .operator, key: CurveKeyPair.make().publicKey)
    let unknown = #expect(throws: CommunicationError.self) { try registry.revoke(name: "m-7") }
    #expect(unknown?.hint == "enrolled are: m-1")
  }

  @Test("a token enrolls one key once, until its time is over or it is revoked")
  func tokenRegistry() throws {
    let registry = try KeyRegistry.make(directory: scratch.path).registry
    let token = try registry.issueToken(name: "m", role: .worker, validFor: .seconds(60))
    let tokenKey = CurveKeyPair(token.secret).publicKey
    let now = Int64(Date().timeIntervalSince1970)
    #expect(try registry.content().principals(atUnixSeconds: now)[tokenKey]?.role == .token(.worker))
    #expect(try registry.content().principals(atUnixSeconds: now + 61).isEmpty)
    let key = CurveKeyPair.make().publicKey
    #expect(try registry.redeem(token: tokenKey, for: key).name == "m")
    #expect(try registry.content().principals(atUnixSeconds: now).map(\.value.role) == [.enrolled(.worker)])
    #expect(throws: CommunicationError.self) {
      try registry.redeem(token: tokenKey, for: CurveKeyPair.make().publicKey)
    }
    let late = try registry.issueToken(name: "n", role: .worker, validFor: .seconds(0))
    #expect(throws: CommunicationError.self) {
      try registry.redeem(token: CurveKeyPair(late.secret).publicKey, for: key)
    }
    let withdrawn = try registry.issueToken(name: "o", role: .worker, validFor: .seconds(60))
    try registry.revoke(name: "o")
    #expect(throws: CommunicationError.self) {
      try registry.redeem(token: CurveKeyPair(withdrawn.secret).publicKey, for: key)
    }
  }

  @Test("changes of several processes at once are all there")
  func concurrentChanges() throws {
    let folder = scratch.path
    let registry = try KeyRegistry.make(directory: folder).registry
    let results = inParallel(4) { index in
      let own = try KeyRegistry(directory: folder)
      for round in 0..<10 {
        try own.enroll(name: "m-\(index)-\(round)", role: .worker, key: CurveKeyPair.make().publicKey)
      }
    }
    for result in results { #expect(throws: Never.self) { try result.get() } }
    #expect(try registry.content().keys.count == 40)
  }

  @Test("which key file is used: the option, then TEMPER_KEYS, then the configuration folder")
  func locations() throws {
    func path(_ option: String?, _ environment: [String: String]) -> String {
      Credentials.location(role: .worker, option: option, environment: environment).path
    }
    #expect(path("/k", ["TEMPER_KEYS": "/e"]) == "/k/worker.key")
    #expect(path(nil, ["TEMPER_KEYS": "/e", "HOME": "/h"]) == "/e/worker.key")
    #expect(path(nil, ["TEMPER_KEYS": "", "HOME": "/h"]) == "/h/.config/temper/worker.key")
    #expect(path(nil, ["XDG_CONFIG_HOME": "/x", "HOME": "/h"]) == "/x/temper/worker.key")
    let file = scratch.path + "/any-name"
    try PrivateFile.create(file, [])
    #expect(path(file, [:]) == file)
  }

  @Test("tcp needs a key or --insecure on loopback, ipc nothing; keys of another role are refused")
  func securities() throws {
    func security(_ endpoint: String, insecure: Bool = false, role: KeyRole = .worker) throws -> ClientSecurity? {
      try Credentials.security(
        role: role, endpoint: endpoint, keys: scratch.path, insecure: insecure, environment: [:])
    }
    #expect(try security("ipc:///x") == nil)
    let missing = #expect(throws: CommunicationError.self) { try security("tcp://127.0.0.1:7070") }
    #expect(missing?.exitCode == 77 && missing?.hint.contains("temper keys join TOKEN") == true)
    for loopback in ["127.0.0.1", "127.8.9.1", "localhost", "[::1]"] {
      #expect(try security("tcp://\(loopback):7070", insecure: true) == .insecure)
    }
    for address in ["10.0.0.1", "0.0.0.0", "*", "eth0", "127.example.com", "127.0.0.1.example.com"] {
      let error = #expect(throws: CommunicationError.self) { try security("tcp://\(address):7070", insecure: true) }
      #expect(error?.code == .notPermitted && error?.exitCode == 77, "\(address)")
    }
    let key = KeyFile(role: .operator, name: "o", pair: .make(), coordinator: CurveKeyPair.make().publicKey)
    try key.write(scratch.path + "/worker.key")
    let wrong = #expect(throws: CommunicationError.self) { try security("tcp://127.0.0.1:7070") }
    #expect(wrong?.code == .badKey && wrong?.message.contains("operator o") == true)
  }
}
