// Faults of networks, on real processes in network namespaces (Cluster/lab): hosts cut off, links lost between workers only, and a
// link with 2 % loss and 200 ms round trip. Needs root and iproute2.
import Communication
import Foundation
import Testing

@Suite(
  "Whatever happens to the network, the result is the same", .enabled(if: TestCluster.isEnabled), .serialized)
struct NetworkFaultTests {
  @Test("a machine that is cut off is found within 4 s, its place is taken, and it may come back")
  func cutOff() throws {
    let cluster = try TestCluster()
    let lab = try TestLab(hosts: 3)
    try lab.startCluster(cluster)
    let job = try cluster.submit(TinyJob.spec(epochs: 6 * TinyJob.epochs))
    let before = try cluster.wait(for: job, "all hosts") {
      $0.progress.step >= TinyJob.Phase.float.step && $0.progress.workers == 3
    }
    let start = Date()
    try lab.run("cut", "3")
    try cluster.wait(for: job, "the next generation") { $0.generation > before.generation }
    let found = Date().timeIntervalSince(start)
    #expect(found < 5, "found within 4 s, and a second for a busy machine; it took \(found) s")
    try cluster.wait(for: job, "steps without it") { $0.progress.step > before.progress.step + 10 }
    try lab.run("mend", "3")
    try cluster.wait(for: job, "its return") { $0.progress.workers == 3 && $0.generation > before.generation }
    #expect(try cluster.result(job) == NetworkFaultTests.longReference.get())
  }

  @Test("the coordinator is cut off: the others train on, and it goes on with them when it is back")
  func coordinatorCutOff() throws {
    let cluster = try TestCluster()
    let lab = try TestLab(hosts: 3)
    try lab.startCluster(cluster, workers: [2, 3])
    let job = try cluster.submit(TinyJob.spec(epochs: 6 * TinyJob.epochs))
    try cluster.wait(for: job, "steps") { $0.progress.step >= TinyJob.Phase.float.step && $0.progress.workers == 2 }
    try lab.run("cut", "1")
    Thread.sleep(forTimeInterval: 6)
    try lab.run("mend", "1")
    #expect(try cluster.result(job) == NetworkFaultTests.longReference.get())
  }

  @Test("2 % loss and a round trip of 200 ms only cost time")
  func bad() throws {
    let spec = TinyJob.spec(epochs: 2, startEpoch: 2, trainCount: 256)
    let alone = try TestCluster()
    try alone.startCoordinator()
    try alone.startWorker("w-1")
    let undisturbed = try alone.result(try alone.submit(spec))
    let cluster = try TestCluster()
    let lab = try TestLab(hosts: 2, ["--delay", "100", "--loss", "2"])
    try lab.startCluster(cluster)
    let job = try cluster.submit(TinyJob.spec(epochs: 2, startEpoch: 2, trainCount: 256, minimumWorkers: 2))
    try cluster.wait(for: job, "both hosts") { $0.progress.step > 0 && $0.progress.workers == 2 }
    #expect(try cluster.result(job) == undisturbed)
  }

  private static let longReference = Result {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.startWorker("w-1")
    return try cluster.result(try cluster.submit(TinyJob.spec(epochs: 6 * TinyJob.epochs)))
  }
}

/// Hosts of one test; removed with it.
private final class TestLab {
  private let name = "temper-test-\(UUID().uuidString.prefix(8).lowercased())"
  private let hosts: Int

  init(hosts: Int, _ arguments: [String] = []) throws {
    self.hosts = hosts
    try run("up", ["--hosts", "\(hosts)", "--network-only"] + arguments)
  }

  deinit { try? run("down") }

  func run(_ command: String, _ arguments: String...) throws { try run(command, arguments) }

  private func run(_ command: String, _ arguments: [String]) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "\(root.path)/Cluster/lab/lab.py", "--name", name, command] + arguments
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw ClusterFailure(description: "lab.py \(command) \(arguments) exits with \(process.terminationStatus)")
    }
  }

  /// A coordinator on host 1, which the test reaches by its socket file, and a worker on each host.
  func startCluster(_ cluster: TestCluster, workers: [Int]? = nil) throws {
    let coordinator = "tcp://10.77.0.1:7070"
    try cluster.startCoordinator(also: [coordinator], in: "\(name)-1")
    for host in workers ?? Array(1...hosts) {
      try cluster.startWorker(
        "w-\(host)", coordinator: coordinator, ["--data-interface", "10.77.0.\(host)"], in: "\(name)-\(host)")
    }
  }
}
