// Who may send what to a coordinator, with real links and keys.
import Communication
import Foundation
import JobSpec
import Logging
import RunStore
import Testing

@testable import Coordinator

@Suite("Keys of a coordinator", .serialized)
struct KeysTests {
  private let scratch: Scratch
  private let registry: KeyRegistry
  private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  init() throws {
    scratch = try Scratch()
    registry = try KeyRegistry.make(directory: scratch.path + "/runs").registry
  }

  private func start(roots: [String] = []) throws -> CoordinatorService {
    try CoordinatorService(
      CoordinatorConfiguration(
        directory: scratch.path + "/runs", endpoints: ["tcp://127.0.0.1:*", "ipc://\(scratch.path)/control"],
        dataRoots: roots), log: log)
  }

  private func stop(_ service: CoordinatorService) throws {
    service.stop()
    try service.run()
  }

  private func enroll(_ name: String, _ role: KeyRole) throws -> CurveKeyPair {
    let pair = CurveKeyPair.make()
    try registry.enroll(name: name, role: role, key: pair.publicKey)
    return pair
  }

  private func client(
    _ service: CoordinatorService, _ pair: CurveKeyPair?,
    _ handler: @escaping @Sendable (ControlClient.Event, ControlClient) -> Void = { _, _ in }
  ) throws -> ControlClient {
    let security = pair.map { ClientSecurity.curve($0, coordinator: registry.coordinator.pair.publicKey) }
    let endpoint = service.endpoints[pair == nil ? 1 : 0]
    return try ControlClient(.init(endpoint: endpoint, security: security), handler: handler)
  }

  private func ask(_ client: ControlClient, _ fill: (inout WireEnvelope) -> Void) throws -> WireEnvelope {
    var envelope = WireEnvelope()
    fill(&envelope)
    return try client.request(envelope, timeout: .seconds(10))
  }

  private func refusal(_ client: ControlClient, _ fill: (inout WireEnvelope) -> Void) -> CommunicationError? {
    #expect(throws: CommunicationError.self) { try ask(client, fill) }
  }

  @Test("operators ask and end, workers work, and neither does the other's part")
  func roles() throws {
    let (operatorKey, workerKey) = (try enroll("anna", .operator), try enroll("machine-b", .worker))
    let service = try start()
    let anna = try client(service, operatorKey)
    let machine = try client(service, workerKey)
    let local = try client(service, nil)
    defer { for client in [anna, machine, local] { client.close() } }
    #expect(try ask(anna) { $0.listJobs = WireListJobs() }.jobList.jobs.isEmpty)
    #expect(try ask(local) { $0.listJobs = WireListJobs() }.jobList.jobs.isEmpty)
    #expect(try ask(machine) { $0.fetchPiece.file = "x" }.filePiece.error.isEmpty == false)
    let listing = refusal(machine) { $0.listJobs = WireListJobs() }
    #expect(listing?.message == "worker machine-b may not send listJobs" && listing?.exitCode == 77)
    #expect(refusal(machine) { $0.shutdown = WireShutdown() }?.exitCode == 77)
    #expect(refusal(machine) { $0.submitJob.spec = "x" }?.exitCode == 77)
    let fetching = refusal(anna) { $0.fetchPiece.file = "data/x/y" }
    #expect(fetching?.message == "operator anna may not send fetchPiece" && fetching?.exitCode == 77)
    #expect(refusal(anna) { $0.workerHello.name = "w" }?.exitCode == 77)
    #expect(refusal(anna) { $0.checkpointBegin.job = 1 }?.exitCode == 77)
    for client in [anna, machine, local] {
      #expect(refusal(client) { $0.enroll.publicKey = Data(count: 32) }?.exitCode == 77)
    }
    try stop(service)
  }

  @Test("a token makes a key that works, once, and nothing else can be done with it")
  func enrollment() throws {
    let service = try start()
    let token = try registry.issueToken(name: "machine-c", role: .worker, validFor: .seconds(60))
    Thread.sleep(forTimeInterval: 0.3)
    let holder = try client(service, CurveKeyPair(token.secret))
    #expect(
      refusal(holder) { $0.listJobs = WireListJobs() }?.message == "the token for machine-c may not send listJobs")
    #expect(refusal(holder) { $0.workerHello.name = "w" }?.exitCode == 77)
    #expect(refusal(holder) { $0.enroll.publicKey = Data(count: 31) }?.message.contains("32 bytes, not 31") == true)
    holder.close()
    let folder = scratch.path + "/keys"
    let (key, path) = try token.redeem(at: service.endpoints[0], into: folder, timeout: .seconds(10))
    #expect(path == folder + "/worker.key" && key.name == "machine-c")
    #expect(try KeyFile.read(path) == key)
    Thread.sleep(forTimeInterval: 0.3)
    let machine = try client(service, key.pair)
    #expect(try ask(machine) { $0.fetchPiece.file = "x" }.filePiece.error.isEmpty == false)
    machine.close()
    #expect(throws: CommunicationError.self) {
      try token.redeem(at: service.endpoints[0], into: folder + "-2", timeout: .seconds(10))
    }
    try stop(service)
  }

  @Test("a worker whose key is revoked is told so within a second, with exit code 77, and its watches and words end")
  func revocation() throws {
    let pair = try enroll("machine-b", .worker)
    let service = try start()
    let told = RecorderBox()
    let machine = try client(service, pair) { event, client in
      if case .connected = event {
        var envelope = WireEnvelope()
        envelope.workerHello.name = "w"
        envelope.workerHello.incarnation = "1"
        envelope.workerHello.version = CoordinatorConfiguration.programVersion
        envelope.workerHello.meshKey = Data(CurveKeyPair.make().publicKey.bytes)
        client.send(envelope)
      }
      if case .received(let envelope) = event { told.add(envelope) }
    }
    defer { machine.close() }
    #expect(told.wait { $0.contains { $0.welcome.worker == 1 } })
    try registry.revoke(name: "machine-b")
    #expect(
      told.wait(1) { $0.contains { $0.refused.exitCode == 77 && $0.refused.reason.contains("machine-b, was revoked") } }
    )
    #expect(throws: CommunicationError.self) {
      var envelope = WireEnvelope()
      envelope.fetchPiece.file = "x"
      _ = try machine.request(envelope, timeout: .milliseconds(300))
    }
    try stop(service)
  }

  @Test("a job from the network may name files below the coordinator's data roots only, whatever links point where")
  func paths() throws {
    let pair = try enroll("anna", .operator)
    let root = scratch.path + "/data"
    for folder in [root + "/set", scratch.path + "/database"] {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }
    try FileManager.default.createSymbolicLink(atPath: root + "/out", withDestinationPath: "/etc")
    let service = try start(roots: [root])
    let anna = try client(service, pair)
    let local = try client(service, nil)
    defer { for client in [anna, local] { client.close() } }
    func submit(_ client: ControlClient, data: String, weights: String = "") throws -> String {
      try ask(client) {
        var spec = JobSpec(name: "paths")
        spec.data.source = .store
        spec.data.store.directory = data
        $0.submitJob.spec = spec.resolvedYAML()
        $0.submitJob.idempotencyKey = UUID().uuidString
        $0.submitJob.initialWeights = weights
      }.submitResult.error
    }
    for path in [
      "/etc", root + "/../database", root + "/out", root + "base", "relative", "/nowhere", scratch.path + "/database",
    ] {
      let error = try submit(anna, data: path)
      #expect(error.contains("data.store.directory: error: '\(path)' is not below a folder"), "\(path): \(error)")
      #expect(error.contains("hint: it opens \(root)"))
    }
    #expect(try submit(anna, data: root + "/set").isEmpty)
    #expect(try submit(anna, data: root + "/set", weights: "/etc/passwd").contains("model.initialize: error"))
    #expect(try submit(local, data: "/etc").isEmpty)
    try stop(service)
  }

  @Test("a coordinator with tcp endpoints does not start without keys, nor with keys that others can read")
  func missingKeys() throws {
    let configuration = CoordinatorConfiguration(directory: scratch.path + "/other", endpoints: ["tcp://127.0.0.1:*"])
    let error = #expect(throws: CoordinatorError.self) { try CoordinatorService(configuration, log: log) }
    #expect(error?.code == .keys && error?.exitCode == 77 && error?.hint.contains("temper keys init") == true)
    try FileManager.default.setAttributes(
      [.posixPermissions: 0o644], ofItemAtPath: registry.folder + "/coordinator.key")
    let open = #expect(throws: CoordinatorError.self) { try start() }
    #expect(open?.code == .keys && open?.exitCode == 77 && open?.hint.contains("chmod 600") == true)
  }

  @Test("a damaged list of keys admits whom it admitted before, and a coordinator does not start on it")
  func damagedList() throws {
    let pair = try enroll("anna", .operator)
    let service = try start()
    let anna = try client(service, pair)
    defer { anna.close() }
    _ = try ask(anna) { $0.listJobs = WireListJobs() }
    let path = registry.folder + "/enrolled.json"
    try Data("{".utf8).write(to: URL(fileURLWithPath: path))
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    Thread.sleep(forTimeInterval: 0.3)
    _ = try ask(anna) { $0.listJobs = WireListJobs() }
    try stop(service)
    let other = try KeyRegistry.make(directory: scratch.path + "/other").registry
    try Data("{".utf8).write(to: URL(fileURLWithPath: other.folder + "/enrolled.json"))
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: other.folder + "/enrolled.json")
    let error = #expect(throws: CoordinatorError.self) {
      try CoordinatorService(
        CoordinatorConfiguration(directory: scratch.path + "/other", endpoints: ["tcp://127.0.0.1:*"]), log: log)
    }
    #expect(error?.code == .keys && error?.exitCode == 78)
  }
}

/// Messages of another thread, with a deadline.
private final class RecorderBox: @unchecked Sendable {  // the lock guards the list
  private let lock = NSLock()
  private var list: [WireEnvelope] = []

  func add(_ envelope: WireEnvelope) { lock.withLock { list.append(envelope) } }

  func wait(_ seconds: Double = 10, until isDone: ([WireEnvelope]) -> Bool) -> Bool {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while !isDone(lock.withLock { list }) {
      if Date() > deadline { return false }
      Thread.sleep(forTimeInterval: 0.005)
    }
    return true
  }
}
