// Faults of machines and people, on real processes: frozen, doubled, of another release, flooded with garbage, out of disk space.
// Each ends with the SHA-256 of the undisturbed run. Kills are in BitIdentityTests and Tests/Storm, networks in NetworkFaultTests.
import Communication
import Foundation
import Synchronization
import Testing

@Suite("Whatever happens to the processes, the result is the same", .enabled(if: TestCluster.isEnabled), .serialized)
struct FaultTests {
  /// A cluster of two workers that is training.
  private func training(
    _ cluster: TestCluster, endpoints: [String] = [], spec: String = TinyJob.spec(everySteps: 5)
  ) throws -> (job: UInt64, info: WireJobInfo) {
    try cluster.startCoordinator(also: endpoints)
    for index in 1...2 { try cluster.startWorker("w-\(index)") }
    let job = try cluster.submit(spec)
    let info = try cluster.wait(for: job, "steps") {
      $0.progress.step >= TinyJob.Phase.float.step && $0.progress.workers == 2
    }
    return (job, info)
  }

  @Test("a coordinator that freezes and thaws: the generation goes on, silence is held against nobody")
  func coordinatorFrozen() throws {
    let cluster = try TestCluster()
    let (job, before) = try training(cluster)
    cluster.signal(cluster.coordinator, SIGSTOP)
    // Longer than the workers take to give the connection up.
    Thread.sleep(forTimeInterval: 5)
    cluster.signal(cluster.coordinator, SIGCONT)
    #expect(try cluster.result(job) == TinyJob.reference.get())
    #expect(cluster.ends(from: before.generation) == [])
  }

  @Test("everything freezes for longer than any limit, and thaws")
  func everythingFrozen() throws {
    let cluster = try TestCluster()
    let (job, _) = try training(cluster)
    let processes = [cluster.coordinator] + cluster.workers.values.map(Optional.some)
    for process in processes { cluster.signal(process, SIGSTOP) }
    Thread.sleep(forTimeInterval: 6)
    for process in processes { cluster.signal(process, SIGCONT) }
    #expect(try cluster.result(job) == TinyJob.reference.get())
  }

  @Test("a second coordinator on the directory is refused with 78, and the first notices nothing")
  func secondCoordinator() throws {
    let cluster = try TestCluster()
    let (job, before) = try training(cluster)
    for attempt in 1...3 {
      let second = try cluster.launch(
        "temper-coordinator",
        ["--directory", cluster.directory.path + "/runs", "--listen", "\(cluster.endpoint)-\(attempt)"], log: "second")
      #expect(try cluster.exitCode(of: second) == 78)
    }
    #expect(cluster.log("second").contains("another coordinator"))
    #expect(try cluster.result(job) == TinyJob.reference.get())
    #expect(cluster.ends(from: before.generation) == [])
  }

  @Test("a worker of another release is refused with 78 and the versions, and never becomes a member")
  func wrongVersion() throws {
    let cluster = try TestCluster()
    let (job, before) = try training(cluster)
    var hello = WireEnvelope()
    hello.workerHello.incarnation = UUID().uuidString
    hello.workerHello.name = "old"
    hello.workerHello.threads = 1
    hello.workerHello.version = "0.0.9"
    hello.workerHello.dataEndpoint = "tcp://127.0.0.1:20000"
    let refusal = Mutex<WireRefused?>(nil)
    let client = try ControlClient(ControlClient.Configuration(endpoint: cluster.endpoint)) { [hello] event, client in
      switch event {
      case .connected: client.send(hello)
      case .received(let envelope):
        if case .refused(let refused) = envelope.body { refusal.withLock { $0 = refused } }
      default: break
      }
    }
    defer { client.close() }
    for _ in 0..<500 where refusal.withLock({ $0 }) == nil { Thread.sleep(forTimeInterval: 0.01) }
    let refused = try #require(refusal.withLock { $0 })
    #expect(refused.exitCode == 78)
    #expect(refused.reason.contains("0.0.9") && refused.reason.contains(ProgramVersion.text))
    #expect(try cluster.result(job) == TinyJob.reference.get())
    #expect(cluster.ends(from: before.generation) == [])
  }

  @Test("garbage, floods, half handshakes and silence on every port: the generation goes on")
  func strangers() throws {
    let cluster = try TestCluster()
    let (job, before) = try training(
      cluster, endpoints: ["tcp://127.0.0.1:*"], spec: TinyJob.spec(epochs: 3 * TinyJob.epochs))
    let processes = [cluster.coordinator].compactMap { $0 } + cluster.workers.values
    let ports = processes.flatMap(listeningPorts)
    #expect(ports.count == 3, "a port for each of coordinator and workers, \(ports)")
    let strangers = try ports.map(StrangePeers.init)
    // The greeting takes them two seconds.
    for _ in 0..<100 {
      for stranger in strangers { stranger.trickle() }
      Thread.sleep(forTimeInterval: 0.02)
    }
    let reached = try cluster.info(job)
    #expect(reached.progress.step > before.progress.step, "it trains while they are there")
    let alone = try TestCluster()
    try alone.startCoordinator()
    try alone.startWorker("w-1")
    let undisturbed = try alone.result(try alone.submit(TinyJob.spec(epochs: 3 * TinyJob.epochs)))
    #expect(try cluster.result(job) == undisturbed)
    #expect(cluster.ends(from: before.generation) == [])
    for process in processes { #expect(process.isRunning) }
    withExtendedLifetime(strangers) {}
  }

  @Test("the coordinator's disk fills up: training goes on, it is said, and the newest whole checkpoint stays")
  func diskFull() throws {
    try #require(geteuid() == 0, "a file system of its own needs root")
    let cluster = try TestCluster()
    let disk = try SmallDisk(at: cluster.directory.appendingPathComponent("runs"), mebibytes: 40)
    let (job, before) = try training(cluster)
    try disk.fill()
    try cluster.wait(for: job, "steps on a full disk") { $0.progress.step > before.progress.step + 30 }
    // A checkpoint that goes because a newer one was whole makes room again.
    try cluster.waitForLog("coordinator", "is not stored, training goes on") { try disk.fill() }
    let folder = URL(fileURLWithPath: before.directory).appendingPathComponent("checkpoints").path
    let whole = try FileManager.default.contentsOfDirectory(atPath: folder).filter { !$0.hasSuffix(".tmp") }
    #expect(!whole.isEmpty)
    disk.free()
    #expect(try cluster.result(job) == TinyJob.reference.get())
    try #require(cluster.coordinator).terminate()
    #expect(try cluster.exitCode(of: try #require(cluster.coordinator)) == 0)
  }
}

/// A small file system in memory.
private final class SmallDisk {
  private let folder: URL
  private var filler: URL { folder.appendingPathComponent("filler") }

  init(at folder: URL, mebibytes: Int) throws {
    self.folder = folder
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    guard mount("temper-test", folder.path, "tmpfs", 0, "size=\(mebibytes)m") == 0 else {
      throw ClusterFailure(description: "cannot mount \(folder.path): \(String(cString: strerror(errno)))")
    }
  }

  /// Detached: whoever still has a file open there keeps it until it ends.
  deinit { umount2(folder.path, Int32(MNT_DETACH)) }

  /// Takes the last byte.
  func fill() throws {
    if !FileManager.default.fileExists(atPath: filler.path) {
      _ = FileManager.default.createFile(atPath: filler.path, contents: nil)
    }
    let file = try FileHandle(forWritingTo: filler)
    try file.seekToEnd()
    var piece = Data(count: 1 << 20)
    while !piece.isEmpty {
      do { try file.write(contentsOf: piece) } catch { piece = piece.prefix(piece.count / 2) }
    }
    try file.close()
  }

  func free() { try? FileManager.default.removeItem(at: filler) }
}
