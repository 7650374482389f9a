// temper doctor on keys in every bad state: what it says, and the exit code that a worker would leave with.
import Communication
import Foundation
import Testing

@Suite("temper doctor's look at keys", .enabled(if: TestCluster.isEnabled), .serialized)
struct DoctorKeyTests {
  /// A state of the key file that shows without a coordinator, with what is said.
  private struct Case: Sendable {
    var name: String
    var code: Int32
    /// What is wrong with its value, and what to do.
    var words: [String]
    /// Makes the state of `path`, where a good key stands.
    var spoil: @Sendable (_ path: String) throws -> Void
  }

  private static let cases: [Case] = [
    Case(
      name: "missing", code: 77, words: ["needs the key of a worker", "temper keys join TOKEN --coordinator tcp://"]
    ) {
      try FileManager.default.removeItem(atPath: $0)
    },
    Case(name: "readable", code: 77, words: ["others can read or write it (mode 644)", "chmod 600 "]) {
      try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: $0)
    },
    Case(name: "writable", code: 77, words: ["others can read or write it (mode 620)", "chmod 600 "]) {
      try FileManager.default.setAttributes([.posixPermissions: 0o620], ofItemAtPath: $0)
    },
    Case(name: "cut", code: 78, words: ["it is not a key file", "temper keys enroll"]) {
      try rewrite($0) { String($0.prefix(40)) }
    },
    Case(name: "long", code: 78, words: ["bytes; the limit is 4096", "name the right file"]) {
      try rewrite($0) { $0 + String(repeating: " ", count: 5_000) }
    },
    Case(name: "folder", code: 78, words: ["it is not a file", "name the file"]) {
      try FileManager.default.removeItem(atPath: $0)
      try FileManager.default.createDirectory(atPath: $0, withIntermediateDirectories: true)
    },
    Case(name: "of no coordinator", code: 78, words: ["it names no coordinator", "temper keys enroll"]) {
      try rewrite($0) { $0.replacingOccurrences(of: "coordinatorKey", with: "other") }
    },
    Case(name: "of two pairs", code: 78, words: ["its two keys do not belong together", "temper keys enroll"]) {
      let other = CurveKeyPair.make().publicKey.z85
      let mine = try KeyFile.read($0).pair.publicKey.z85
      try rewrite($0) { $0.replacingOccurrences(of: escaped(mine), with: escaped(other)) }
    },
    Case(name: "of an operator", code: 78, words: ["this is the key of operator x", "--role worker"]) {
      let key = try KeyFile.read($0)
      try FileManager.default.removeItem(atPath: $0)
      try KeyFile(role: .operator, name: "x", pair: key.pair, coordinator: key.coordinator).write($0)
    },
  ]

  /// Changes the text of a file of mode 600.
  private static func rewrite(_ path: String, _ change: (String) -> String) throws {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try change(text).write(toFile: path, atomically: false, encoding: .utf8)
  }

  /// As it stands in JSON.
  private static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
  }

  @Test("a key file that cannot be used is named with what is wrong, its value and the remedy; the code is a worker's")
  func files() throws {
    let cluster = try TestCluster()
    let registry = try cluster.makeKeys()
    for bad in Self.cases {
      let folder = "\(cluster.directory.path)/\(bad.name)"
      try cluster.makeKey(bad.name.replacingOccurrences(of: " ", with: "-"), .worker, in: folder, registry)
      try bad.spoil(folder + "/worker.key")
      try expect(cluster, folder: folder, bad.name, bad.code, bad.words)
    }
    // Only root can give a file away.
    guard geteuid() == 0 else { return }
    let folder = "\(cluster.directory.path)/given-away"
    try cluster.makeKey("given-away", .worker, in: folder, registry)
    #expect(chown(folder + "/worker.key", 65_534, 65_534) == 0)
    try expect(
      cluster, folder: folder, "given away", 77,
      ["it belongs to user 65534, this process runs as 0", "runuser -u NAME"])
  }

  private func expect(
    _ cluster: TestCluster, folder: String, _ name: String, _ code: Int32, _ words: [String]
  ) throws {
    let arguments = ["--coordinator", "tcp://127.0.0.1:7099", "--timeout", "1"]
    let (found, text) = try cluster.doctor(arguments + ["--keys", folder, "--json"])
    #expect(found == code, "\(name): \(text)")
    let report = try DoctorOutput(text)
    #expect(report.key.file == folder + "/worker.key", "\(name)")
    for word in words { #expect(report.key.trouble?.contains(word) == true, "\(name): \(report.key)") }
    #expect(report.ports.map(\.trouble) == [report.key.trouble], "\(name): nothing is tried without a key")
  }

  @Test("a key is tried on the coordinator: revoked, never enrolled, enrolled with another one")
  func admission() throws {
    let cluster = try TestCluster()
    let endpoint = "tcp://127.0.0.1:\(Int.random(in: 20_000..<30_000))"
    let registry = try cluster.makeKeys()
    let path = cluster.directory.path
    try cluster.makeKey("revoked", .worker, in: path + "/revoked", registry)
    _ = try registry.revoke(name: "revoked")
    let coordinator = registry.coordinator.pair.publicKey
    try KeyFile(role: .worker, name: "x", pair: .make(), coordinator: coordinator).write(path + "/stranger/worker.key")
    let enrolled = try KeyFile.read(cluster.keysFolder + "/worker.key")
    try KeyFile(role: .worker, name: "x", pair: enrolled.pair, coordinator: CurveKeyPair.make().publicKey)
      .write(path + "/elsewhere/worker.key")
    try cluster.startCoordinator(also: [endpoint])
    try cluster.waitForLog("coordinator", "listening on")
    let denied = ["does not admit this key: it was revoked, or never enrolled there", "temper keys enroll"]
    let elsewhere = ["is not the coordinator that this key is enrolled with", "temper keys join"]
    for (name, code, words) in [
      ("revoked", Int32(77), denied), ("stranger", 77, denied), ("elsewhere", 69, elsewhere),
    ] {
      let keys = ["--keys", "\(path)/\(name)"]
      let (found, text) = try cluster.doctor(["--coordinator", endpoint, "--timeout", "4", "--json"] + keys)
      #expect(found == code, "\(name): \(text)")
      let report = try DoctorOutput(text)
      #expect(report.key.trouble == nil, "\(name): the file is in order")
      #expect(report.ports.map(\.endpoint) == [endpoint], "\(name)")
      for word in words { #expect(report.ports.first?.trouble?.contains(word) == true, "\(name): \(text)") }
    }
  }

  @Test("a good key is shown with its coordinator's, and asks for nothing that a worker's key may not")
  func good() throws {
    let cluster = try TestCluster()
    let endpoint = "tcp://127.0.0.1:\(Int.random(in: 20_000..<30_000))"
    let registry = try cluster.makeKeys()
    try cluster.startCoordinator(also: [endpoint])
    try cluster.waitForLog("coordinator", "listening on")
    let (code, text) = try cluster.doctor(["--coordinator", endpoint, "--timeout", "10", "--json"])
    #expect(code == 0, "\(text)")
    let report = try DoctorOutput(text)
    let key = try KeyFile.read(cluster.keysFolder + "/worker.key")
    #expect(report.key.fingerprint == key.pair.publicKey.fingerprint)
    #expect(report.key.coordinator == registry.coordinator.pair.publicKey.fingerprint)
    #expect(report.ports.map(\.direction) == ["out", "in"])
    #expect(report.notes == ["other workers: not tried, a worker's key does not open their list"])
    #expect(!cluster.log("coordinator").contains("refused"), "\(cluster.log("coordinator"))")
  }

  @Test("--insecure is for loopback, and a worker would leave with 77")
  func insecure() throws {
    let cluster = try TestCluster()
    let (code, text) = try cluster.doctor(["--insecure", "--coordinator", "tcp://10.0.0.1:7070", "--timeout", "1"])
    #expect(code == 77 && text.contains("loopback only") && text.contains("temper keys init"), "\(text)")
  }
}
