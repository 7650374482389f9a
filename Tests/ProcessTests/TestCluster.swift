// A real cluster for a test: coordinator and workers as processes in a folder of their own, and a client to watch them.
import Communication
import Foundation
import Testing

/// What went wrong while waiting, with the end of every log.
struct ClusterFailure: Error, CustomStringConvertible {
  var description: String
}

/// Processes of one test; all of them end with it.
final class TestCluster {
  /// Where the executables are: TEMPER_EXECUTABLES, else the release build of this package.
  static let executables: URL = {
    if let path = ProcessInfo.processInfo.environment["TEMPER_EXECUTABLES"] { return URL(fileURLWithPath: path) }
    return URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent(".build/release")
  }()
  static let isEnabled = ProcessInfo.processInfo.environment["TEMPER_PROCESS_TESTS"] == "1"

  let directory: URL
  let endpoint: String
  private(set) var coordinator: Process?
  private(set) var workers: [String: Process] = [:]
  private var all: [Process] = []
  private var openedClient: ControlClient?

  init() throws {
    directory = URL(fileURLWithPath: "/tmp/temper-test-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    endpoint = "ipc://\(directory.path)/control"
  }

  deinit {
    for process in all where process.isRunning {
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
    }
    openedClient?.close()
    try? FileManager.default.removeItem(at: directory)
  }

  // MARK: Processes

  /// Starts a coordinator.
  ///
  /// - Parameters:
  ///   - also: endpoints besides the one that the test's client uses.
  ///   - namespace: the network that it sees.
  func startCoordinator(
    directory name: String = "runs", endpoint other: String? = nil, also: [String] = [], in namespace: String? = nil,
    variables: [String: String] = [:]
  ) throws {
    let endpoints = [other ?? endpoint] + also
    if endpoints.contains(where: { $0.hasPrefix("tcp://") }) { try makeKeys(directory: name) }
    let listen = endpoints.flatMap { ["--listen", $0] }
    coordinator = try launch(
      "temper-coordinator", ["--directory", "\(directory.path)/\(name)"] + listen, log: "coordinator", in: namespace,
      variables: variables)
  }

  /// Where the keys of this test's own programs are: TEMPER_KEYS of every process.
  var keysFolder: String { directory.path + "/keys" }

  /// Makes the keys of a coordinator's directory, and a worker key and an operator key of this test.
  @discardableResult
  func makeKeys(directory name: String = "runs") throws -> KeyRegistry {
    let (registry, isNew) = try KeyRegistry.make(directory: "\(directory.path)/\(name)")
    guard isNew else { return registry }
    try? FileManager.default.removeItem(atPath: keysFolder)
    for role in [KeyRole.worker, .operator] { _ = try makeKey("test-\(role.rawValue)", role, in: keysFolder, registry) }
    return registry
  }

  /// Enrolls a key and writes its file.
  @discardableResult
  func makeKey(_ name: String, _ role: KeyRole, in folder: String, _ registry: KeyRegistry) throws -> KeyFile {
    let key = KeyFile(role: role, name: name, pair: .make(), coordinator: registry.coordinator.pair.publicKey)
    try registry.enroll(name: name, role: role, key: key.pair.publicKey)
    try key.write("\(folder)/\(role.rawValue).key")
    return key
  }

  @discardableResult
  func startWorker(
    _ name: String, threads: Int = 1, coordinator: String? = nil, _ arguments: [String] = [],
    in namespace: String? = nil, through wrapper: [String] = [], variables: [String: String] = [:]
  ) throws -> Process {
    let process = try launch(
      "temper-worker",
      [
        "--coordinator", coordinator ?? endpoint, "--name", name, "--threads", "\(threads)",
        "--runtime-directory", directory.path + "/sockets",
      ] + arguments, log: name, in: namespace, through: wrapper, variables: variables)
    workers[name] = process
    return process
  }

  /// Starts a program of this package, `through` another one that is given its path and arguments (an emulator, env).
  func launch(
    _ program: String, _ arguments: [String], log: String, in namespace: String? = nil,
    through wrapper: [String] = [], variables: [String: String] = [:]
  ) throws -> Process {
    let process = Process()
    let executable = Self.executables.appendingPathComponent(program)
    let outer = namespace.map { ["/sbin/ip", "netns", "exec", $0] } ?? wrapper
    process.executableURL = outer.first.map { URL(fileURLWithPath: $0) } ?? executable
    let prefix = outer.isEmpty ? [] : outer.dropFirst() + [executable.path]
    process.environment = ProcessInfo.processInfo.environment.merging(["TEMPER_KEYS": keysFolder]) { $1 }
      .merging(variables) { $1 }
    // A test run that is killed leaves nothing behind.
    process.arguments = prefix + arguments + (program == "temper" ? [] : ["--exit-with-parent"])
    let path = directory.appendingPathComponent("\(log).log").path
    // Programs that share a log write at its end, wherever another one has moved it.
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw ClusterFailure(description: "cannot write \(path)") }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    process.standardOutput = file
    process.standardError = file
    process.standardInput = FileHandle.nullDevice
    try process.run()
    all.append(process)
    return process
  }

  /// Sends a signal; with SIGKILL waits for the end.
  func signal(_ process: Process?, _ number: Int32) {
    guard let process else { return }
    kill(process.processIdentifier, number)
    if number == SIGKILL { process.waitUntilExit() }
  }

  /// kill -9 for everything.
  func killEverything() {
    for process in all where process.isRunning { kill(process.processIdentifier, SIGKILL) }
    for process in all { process.waitUntilExit() }
  }

  /// The exit code of a process that is expected to end by itself.
  func exitCode(of process: Process, within seconds: Double = 20) throws -> Int32 {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while process.isRunning {
      guard Date() < deadline else { throw failure("a process did not end within \(seconds) s") }
      Thread.sleep(forTimeInterval: 0.01)
    }
    return process.terminationStatus
  }

  func log(_ name: String) -> String {
    (try? String(contentsOf: directory.appendingPathComponent("\(name).log"), encoding: .utf8)) ?? ""
  }

  /// Waits until a process has said something.
  func waitForLog(
    _ name: String, _ text: String, within seconds: Double = 60, meanwhile: () throws -> Void = {}
  ) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while !log(name).contains(text) {
      try meanwhile()
      guard Date() < deadline else { throw failure("'\(text)' is not in the log of \(name) after \(seconds) s") }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  func failure(_ reason: String) -> ClusterFailure {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
    let logs = names.filter { $0.hasSuffix(".log") }.sorted().map { name in
      let lines = log(String(name.dropLast(4))).split(separator: "\n").suffix(25)
      return "--- \(name)\n" + lines.joined(separator: "\n")
    }
    return ClusterFailure(description: ([reason] + logs).joined(separator: "\n"))
  }

  // MARK: The client's side

  private func client() throws -> ControlClient {
    if let openedClient { return openedClient }
    let client = try ControlClient(ControlClient.Configuration(endpoint: endpoint))
    openedClient = client
    return client
  }

  func ask(_ envelope: WireEnvelope) throws -> WireEnvelope {
    do { return try client().request(envelope, timeout: .seconds(15)) } catch { throw failure("\(error)") }
  }

  func submit(_ spec: String) throws -> UInt64 {
    var envelope = WireEnvelope()
    envelope.submitJob.spec = spec
    envelope.submitJob.idempotencyKey = UUID().uuidString
    let result = try ask(envelope).submitResult
    guard result.error.isEmpty else { throw failure(result.error) }
    return result.job
  }

  /// Asks a job to do something; fails when the coordinator refuses.
  func control(_ job: UInt64, _ verb: WireJobVerb) throws {
    var envelope = WireEnvelope()
    envelope.controlJob.job = job
    envelope.controlJob.verb = verb
    let result = try ask(envelope).controlResult
    guard result.accepted else { throw failure(result.reason) }
  }

  func info(_ job: UInt64) throws -> WireJobInfo {
    var envelope = WireEnvelope()
    envelope.listJobs = WireListJobs()
    guard let info = try ask(envelope).jobList.jobs.first(where: { $0.job == job }) else {
      throw failure("the coordinator knows no job \(job)")
    }
    return info
  }

  /// Polls a job until `condition` holds.
  @discardableResult
  func wait(
    for job: UInt64, _ what: String, within seconds: Double = 120, until condition: (WireJobInfo) -> Bool
  ) throws -> WireJobInfo {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while true {
      let info = try info(job)
      if condition(info) { return info }
      if ["finished", "failed", "cancelled"].contains(info.state) {
        throw failure("waiting for \(what), the job is \(info.state): \(info.reason)")
      }
      guard Date() < deadline else {
        throw failure(
          "no \(what) within \(seconds) s; the job is \(info.state): \(info.reason), step \(info.progress.step)")
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  /// Why generations from `first` on ended, but for shards that moved, which a busy machine may bring about at any time.
  func ends(from first: UInt64) -> [String] {
    log("coordinator").matches(of: /generation (\d+) ends: (.*)/).filter { match in
      UInt64(match.1).map { $0 >= first } ?? false && !match.2.hasPrefix("shards follow the measured speeds")
    }.map { String($0.0) }
  }

  /// The SHA-256 of the finished job's state.
  func result(_ job: UInt64) throws -> String {
    try wait(for: job, "the end", within: 300) { $0.state == "finished" }.sha256
  }
}
