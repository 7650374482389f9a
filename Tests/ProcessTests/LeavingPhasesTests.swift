// A signal in any phase, not only between steps: rendezvous, loading, evaluation, without a coordinator; and the time that was given.
import Communication
import Foundation
import Testing

@Suite("A worker leaves within 20 s", .enabled(if: TestCluster.isEnabled), .serialized)
struct LeavingPhasesTests {
  /// Sends SIGTERM and checks code and time.
  private func leave(_ process: Process, with code: Int32, _ cluster: TestCluster) throws {
    let start = Date()
    cluster.signal(process, SIGTERM)
    #expect(try cluster.exitCode(of: process, within: 20) == code)
    #expect(Date().timeIntervalSince(start) < 20)
  }

  @Test("with 0 while there is no coordinator, for there is nothing that it leaves undone")
  func unreachable() throws {
    let cluster = try TestCluster()
    let worker = try cluster.startWorker("w-1")
    try cluster.waitForLog("w-1", "coordinator ipc://")
    try leave(worker, with: 0, cluster)
  }

  @Test("with 75 while the others' links are being made")
  func rendezvous() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let leaver = try cluster.startWorker("w-1")
    let frozen = try cluster.startWorker("w-2")
    for name in ["w-1", "w-2"] { try cluster.waitForLog(name, "known to the coordinator") }
    cluster.signal(frozen, SIGSTOP)
    _ = try cluster.submit(TinyJob.spec(minimumWorkers: 2))
    try cluster.waitForLog("w-1", "rank ")
    try leave(leaver, with: 75, cluster)
    #expect(!cluster.log("w-1").contains("training from step"))
    cluster.signal(frozen, SIGCONT)
  }

  @Test("with 75 while it loads the data set")
  func loading() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let job = try cluster.submit(TinyJob.spec(trainCount: 65_536))
    try cluster.wait(for: job, "the data set") { $0.state == "queued" }
    let worker = try cluster.startWorker("w-1")
    try cluster.waitForLog("w-1", "rank 0 of 1")
    try leave(worker, with: 75, cluster)
    #expect(!cluster.log("w-1").contains("training from step"))
  }

  @Test("with 75 in an evaluation")
  func evaluation() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let worker = try cluster.startWorker("w-1")
    let job = try cluster.submit(TinyJob.spec(trainCount: 64, testCount: 40_000))
    var list = WireEnvelope()
    list.listWorkers = WireListWorkers()
    try cluster.wait(for: job, "an evaluation") { _ in
      (try? cluster.ask(list))?.workerList.workers.first?.state.hasPrefix("evaluating") == true
    }
    try leave(worker, with: 75, cluster)
  }

  @Test("with 75 when the time that it was given is over")
  func deadline() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let worker = try cluster.startWorker("w-1", ["--max-runtime", "2s"])
    _ = try cluster.submit(TinyJob.spec(epochs: 1_000))
    #expect(try cluster.exitCode(of: worker, within: 22) == 75)
    #expect(cluster.log("w-1").contains("--max-runtime"))
  }

  @Test("on a signal told twice at once as on one; a later one ends it with 128 and the signal's number")
  func twice() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let patient = try cluster.startWorker("w-1")
    let hasty = try cluster.startWorker("w-2")
    for name in ["w-1", "w-2"] { try cluster.waitForLog(name, "known to the coordinator") }
    // Nobody answers their Leave for two seconds.
    cluster.signal(cluster.coordinator, SIGSTOP)
    for worker in [patient, hasty, patient] { cluster.signal(worker, SIGTERM) }
    Thread.sleep(forTimeInterval: 1.3)
    cluster.signal(hasty, SIGTERM)
    #expect(try cluster.exitCode(of: hasty) == 143)
    #expect(try cluster.exitCode(of: patient) == 0)
    cluster.signal(cluster.coordinator, SIGCONT)
  }

  @Test("having told systemd that it is ready, gets somewhere and stops")
  func notified() throws {
    let cluster = try TestCluster()
    let path = cluster.directory.appendingPathComponent("notify").path
    let socket = try NotifySocket(path)
    let variables = ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000"]
    try cluster.startCoordinator(variables: variables)
    try socket.wait(for: ["READY=1", "WATCHDOG=1"])
    let worker = try cluster.startWorker("w-1", variables: variables)
    let job = try cluster.submit(TinyJob.spec(epochs: 1_000))
    try cluster.wait(for: job, "steps") { $0.progress.step > 10 }
    socket.forget()
    try socket.wait(for: ["WATCHDOG=1"])
    try leave(worker, with: 75, cluster)
    try socket.wait(for: ["STOPPING=1"])
  }
}

/// Where systemd would listen.
private final class NotifySocket {
  private let descriptor: Int32
  private var heard: [String] = []

  init(_ path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0 else { throw ClusterFailure(description: "cannot listen at \(path)") }
  }

  deinit { close(descriptor) }

  func forget() {
    take()
    heard = []
  }

  func wait(for states: [String]) throws {
    for _ in 0..<1_000 {
      take()
      if states.allSatisfy(heard.contains) { return }
      Thread.sleep(forTimeInterval: 0.01)
    }
    throw ClusterFailure(description: "systemd heard \(heard), not all of \(states)")
  }

  private func take() {
    var bytes = [UInt8](repeating: 0, count: 512)
    while true {
      let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
      if count <= 0 { return }
      heard.append(String(decoding: bytes[..<count], as: UTF8.self))
    }
  }
}
