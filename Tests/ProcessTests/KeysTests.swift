// Keys with real processes: enrollment by command line, revocation of a worker that trains, and everybody who must stay out.
import Communication
import Foundation
import Testing

@Suite("Keys", .enabled(if: TestCluster.isEnabled), .serialized)
struct KeysTests {
  private func temper(_ cluster: TestCluster, _ arguments: [String]) throws -> (code: Int32, text: String) {
    let name = "temper-\(UUID().uuidString.prefix(8))"
    let code = try cluster.exitCode(of: try cluster.launch("temper", arguments, log: name), within: 60)
    return (code, cluster.log(name).trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// Starts a coordinator on the test's socket file and a port; returns the port's endpoint.
  private func startCoordinator(_ cluster: TestCluster) throws -> String {
    let endpoint = "tcp://127.0.0.1:\(Int.random(in: 20_000..<30_000))"
    try cluster.startCoordinator(also: [endpoint])
    try cluster.waitForLog("coordinator", "listening on")
    return endpoint
  }

  @Test("a worker whose key is revoked is out of the running generation within 5 s, and the result is the same")
  func revoked() throws {
    let cluster = try TestCluster()
    let registry = try cluster.makeKeys()
    let endpoint = try startCoordinator(cluster)
    for index in 1...3 {
      let folder = "\(cluster.directory.path)/keys-\(index)"
      try cluster.makeKey("machine-\(index)", .worker, in: folder, registry)
      try cluster.startWorker("w-\(index)", coordinator: endpoint, ["--keys", folder])
    }
    let job = try cluster.submit(TinyJob.spec(epochs: 3 * TinyJob.epochs))
    let before = try cluster.wait(for: job, "three workers that train") { $0.workers == 3 && $0.progress.step > 20 }
    let (code, _) = try temper(
      cluster, ["keys", "revoke", "machine-2", "--directory", cluster.directory.path + "/runs"])
    #expect(code == 0)
    let start = ContinuousClock.now
    try cluster.waitForLog("coordinator", "generation \(before.generation) ends")
    #expect(ContinuousClock.now - start < .seconds(5))
    try cluster.wait(for: job, "a generation without it") {
      $0.generation > before.generation && $0.workers == 2 && $0.progress.step > before.progress.step
    }
    #expect(try cluster.exitCode(of: try #require(cluster.workers["w-2"]), within: 30) == 77)
    #expect(cluster.log("w-2").contains("machine-2, was revoked"))
    // It is told so when it tries again, before anything it says is parsed.
    let again = try cluster.startWorker("w-2b", coordinator: endpoint, ["--keys", "\(cluster.directory.path)/keys-2"])
    #expect(try cluster.exitCode(of: again, within: 30) == 77)
    #expect(cluster.log("w-2b").contains("does not admit this key"))
    let alone = try TestCluster()
    try alone.startCoordinator()
    try alone.startWorker("w-1")
    let undisturbed = try alone.result(try alone.submit(TinyJob.spec(epochs: 3 * TinyJob.epochs)))
    #expect(try cluster.result(job) == undisturbed)
    #expect(cluster.ends(from: before.generation).count == 1, "that one and none after it")
  }

  @Test("from nothing to an encrypted cluster: init, enroll, join, list, revoke")
  func commandLine() throws {
    let cluster = try TestCluster()
    let runs = cluster.directory.path + "/runs"
    let (made, text) = try temper(cluster, ["keys", "init", "--directory", runs])
    #expect(made == 0 && text.contains("made \(cluster.keysFolder)/operator.key"))
    #expect(try temper(cluster, ["keys", "init", "--directory", runs]).text.contains("nothing to do"))
    let endpoint = try startCoordinator(cluster)
    let jobs = ["jobs", "--coordinator", endpoint]
    #expect(try temper(cluster, jobs).code == 0)
    let (issued, output) = try temper(cluster, ["keys", "enroll", "machine-b", "--directory", runs])
    let token = try #require(output.split(separator: "\n").first { $0.hasPrefix("worker.") }.map(String.init))
    #expect(issued == 0)
    let folder = cluster.directory.path + "/machine-b"
    let join = ["keys", "join", token, "--coordinator", endpoint, "--keys", folder]
    Thread.sleep(forTimeInterval: 0.5)
    #expect(try temper(cluster, join).code == 0)
    let (spent, words) = try temper(cluster, Array(join.dropLast()) + [folder + "-2"])
    #expect(spent == 77 && words.contains("does not admit this key"), "\(words)")
    #expect(try temper(cluster, ["keys", "enroll", "machine-b", "--directory", runs]).code == 77)
    Thread.sleep(forTimeInterval: 0.5)
    try cluster.startWorker("w-b", coordinator: endpoint, ["--keys", folder])
    try cluster.waitForLog("w-b", "known to the coordinator")
    // A worker's key is no operator's.
    let (denied, reason) = try temper(cluster, jobs + ["--keys", folder + "/worker.key"])
    #expect(denied == 78 && reason.contains("worker machine-b"))
    #expect(try temper(cluster, ["keys", "revoke", "machine-b", "--directory", runs]).code == 0)
    let list = try temper(cluster, ["keys", "list", "--json", "--directory", runs]).text
    #expect(list.contains("\"state\":\"revoked\"") || list.contains("\"state\" : \"revoked\""))
    #expect(try cluster.exitCode(of: try #require(cluster.workers["w-b"]), within: 30) == 77)
  }

  @Test("programs without the right key leave with 77 and say what to do; --insecure stays on loopback")
  func refusals() throws {
    let cluster = try TestCluster()
    try cluster.makeKeys()
    let endpoint = try startCoordinator(cluster)
    func worker(_ name: String, _ arguments: [String], coordinator: String? = nil) throws -> (Int32, String) {
      let process = try cluster.startWorker(name, coordinator: coordinator ?? endpoint, arguments)
      return (try cluster.exitCode(of: process, within: 30), cluster.log(name))
    }
    let none = try worker("none", ["--keys", "/nonexistent"])
    #expect(none.0 == 77 && none.1.contains("temper keys join TOKEN --coordinator \(endpoint)"))
    let folder = cluster.directory.path + "/open"
    let registry = try KeyRegistry(directory: cluster.directory.path + "/runs")
    try cluster.makeKey("open", .worker, in: folder, registry)
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: folder + "/worker.key")
    let open = try worker("open", ["--keys", folder])
    #expect(open.0 == 77 && open.1.contains("chmod 600"))
    let strange = cluster.directory.path + "/strange"
    try KeyFile(role: .worker, name: "x", pair: .make(), coordinator: registry.coordinator.pair.publicKey)
      .write(strange + "/worker.key")
    let unknown = try worker("unknown", ["--keys", strange])
    #expect(unknown.0 == 77 && unknown.1.contains("does not admit this key"))
    let remote = try worker("remote", ["--insecure"], coordinator: "tcp://10.0.0.1:7070")
    #expect(remote.0 == 77 && remote.1.contains("loopback only"))
    for (name, arguments, words) in [
      ("wide", ["--insecure", "--listen", "tcp://10.0.0.1:7070"], "loopback only"),
      ("wildcard", ["--listen", "tcp://0.0.0.0:7070"], "every interface"),
      ("keyless", ["--listen", "tcp://127.0.0.1:7070"], "temper keys init"),
    ] {
      let directory = "\(cluster.directory.path)/\(name)"
      if name == "wildcard" { _ = try KeyRegistry.make(directory: directory) }
      let process = try cluster.launch("temper-coordinator", ["--directory", directory] + arguments, log: name)
      let code = try cluster.exitCode(of: process)
      #expect(code == (name == "wildcard" ? 78 : 77) && cluster.log(name).contains(words), "\(name)")
    }
  }

  @Test("--insecure works on loopback, says so loudly, and takes nobody with a key for what it is not")
  func insecure() throws {
    let cluster = try TestCluster()
    let endpoint = "tcp://127.0.0.1:\(Int.random(in: 20_000..<30_000))"
    let coordinator = try cluster.launch(
      "temper-coordinator",
      [
        "--directory", cluster.directory.path + "/runs", "--listen", endpoint, "--listen", cluster.endpoint,
        "--insecure",
      ],
      log: "coordinator")
    try cluster.waitForLog("coordinator", "takes no keys and encrypts nothing")
    try cluster.startWorker("w-1", coordinator: endpoint, ["--insecure"])
    try cluster.waitForLog("w-1", "links take no keys and encrypt nothing")
    #expect(try cluster.result(try cluster.submit(TinyJob.spec())) == TinyJob.reference.get())
    #expect(coordinator.isRunning)
  }

  @Test("the socket file of a coordinator takes no process of another user, whatever the file's rights are")
  func otherUsers() throws {
    try #require(geteuid() == 0, "another user's process needs root to start it")
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.waitForLog("coordinator", "listening on")
    let path = String(cluster.endpoint.dropFirst("ipc://".count))
    for file in [path, cluster.directory.path] {
      try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: file)
    }
    // The first byte of a ZMTP greeting comes at once, or the end of the stream.
    let script =
      "import socket,sys;s=socket.socket(socket.AF_UNIX);s.settimeout(5);s.connect(sys.argv[1]);sys.exit(len(s.recv(1)))"
    func greeting(as user: Int) throws -> Int32 {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
      process.arguments = [
        "--reuid=\(user)", "--regid=\(user)", "--clear-groups", "/usr/bin/python3", "-c", script, path,
      ]
      try process.run()
      process.waitUntilExit()
      return process.terminationStatus
    }
    #expect(try greeting(as: 0) == 1)
    #expect(try greeting(as: 65_534) == 0)
  }
}
