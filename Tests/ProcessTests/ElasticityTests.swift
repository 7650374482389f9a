// Workers that come, go, get slow, and jobs that pause, yield, are tried again and forked: always the same SHA-256.
import Checkpoint
import Communication
import Foundation
import Synchronization
import Testing

@Suite("The result does not depend", .enabled(if: TestCluster.isEnabled), .serialized)
struct ElasticityTests {
  private func temper(_ cluster: TestCluster, _ arguments: [String]) throws -> (code: Int32, text: String) {
    let name = "temper-\(UUID().uuidString.prefix(8))"
    let code = try cluster.exitCode(
      of: try cluster.launch("temper", arguments + ["--coordinator", cluster.endpoint], log: name), within: 90)
    return (code, cluster.log(name))
  }

  @Test("on a worker that joins while the other goes on, nor on one that is drained")
  func joinAndDrain() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let first = try cluster.startWorker("w-1")
    let job = try cluster.submit(TinyJob.spec())
    try cluster.wait(for: job, "steps") { $0.progress.step >= 10 }
    try cluster.startWorker("w-2")
    try cluster.wait(for: job, "the newcomer") { $0.workers == 2 && $0.progress.step > 20 }
    #expect(cluster.log("coordinator").contains("stands by: it fetches the data while the others go on"))
    #expect(cluster.log("w-1").contains("as announced"))
    let drained = try temper(cluster, ["workers", "drain", "w-1"])
    #expect(drained.code == 0 && drained.text.contains("leaving: w-1"))
    #expect(try cluster.exitCode(of: first) == 0, "its supervisor is not to start it again")
    #expect(try temper(cluster, ["wait", "\(job)", "--exit-status"]).code == 0)
    #expect(try cluster.result(job) == TinyJob.reference.get())
    #expect(try temper(cluster, ["workers", "drain", "w-1"]).code == 66)
  }

  @Test("on being paused, on a coordinator that is killed meanwhile, on being cancelled and tried again")
  func pauseAndRetry() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...2 { try cluster.startWorker("w-\(index)") }
    // Long enough for two ends that are announced ahead.
    let spec = TinyJob.spec(epochs: 16)
    let job = try cluster.submit(spec)
    try cluster.wait(for: job, "steps") { $0.progress.step >= TinyJob.Phase.float.step }
    #expect(try temper(cluster, ["pause", "tiny"]).code == 0)
    #expect(try temper(cluster, ["wait", "tiny", "--exit-status"]).code == 3)
    let paused = try cluster.info(job)
    #expect(paused.reason.hasPrefix("paused at step") && !paused.reason.contains("no checkpoint"))
    cluster.signal(cluster.coordinator, SIGKILL)
    try cluster.startCoordinator()
    #expect(try cluster.info(job).state == "paused")
    #expect(try temper(cluster, ["resume", "tiny"]).code == 0)
    try cluster.wait(for: job, "the quantized phase") { $0.progress.step >= TinyJob.Phase.quantized.step }
    let cancelled = try temper(cluster, ["cancel", "tiny", "--json"])
    #expect(cancelled.code == 0 && cancelled.text.contains("\"accepted\":true"))
    #expect(try temper(cluster, ["wait", "tiny", "--exit-status"]).code == 2)
    let refused = try temper(cluster, ["resume", "tiny"])
    #expect(refused.code == 64 && refused.text.contains("job 1 is cancelled already"))
    cluster.signal(cluster.coordinator, SIGKILL)
    try cluster.startCoordinator()
    #expect(try temper(cluster, ["retry", "tiny"]).code == 0)
    #expect(try temper(cluster, ["wait", "tiny", "--exit-status"]).code == 0)
    #expect(try cluster.result(job) == TinyJob.undisturbed(spec))
    #expect(cluster.log("w-1").contains("from jobs/"), "it went on from the checkpoint")
  }

  @Test("on shards that move away from a worker that is slow")
  func slowWorker() throws {
    // Steps of some ten milliseconds, so that the brake slows every one of them down.
    let spec = TinyJob.spec(epochs: 9, trainCount: 8_192)
      .replacingOccurrences(of: "batchSize: 32", with: "batchSize: 512")
    let expected = try TinyJob.undisturbed(spec)
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.startWorker("w-1")
    try cluster.waitForLog("coordinator", "w-1 is w-1:")
    let slow = try cluster.startWorker("w-2")
    try cluster.waitForLog("coordinator", "w-2 is w-2:")
    let brake = Brake(slow)
    defer { brake.release() }
    let job = try cluster.submit(spec)
    // Not necessarily the first move: on a busy machine w-1 may be the slower one for a while.
    try cluster.wait(for: job, "fewer shards for the slow worker", within: 300) { _ in
      shardCounts(cluster).contains { $0[0] > $0[1] }
    }
    brake.release()
    #expect(shardCounts(cluster).first == [4, 4], "nothing is known of them yet")
    #expect(cluster.log("coordinator").contains("shards follow the measured speeds"))
    #expect(try cluster.result(job) == expected)
  }

  /// The shards of w-1 and w-2 in each generation that had both.
  private func shardCounts(_ cluster: TestCluster) -> [[Int]] {
    let plans = cluster.log("coordinator").matches(
      of: /generation \d+: w-1 shards (\d+)\.\.<(\d+), w-2 shards (\d+)\.\.<(\d+)/)
    return plans.map { plan in
      let bounds = [plan.1, plan.2, plan.3, plan.4].map { Int($0) ?? 0 }
      return [bounds[1] - bounds[0], bounds[3] - bounds[2]]
    }
  }

  @Test("on sharing the pool with a job of a higher priority; and a fork comes to what its origin came to")
  func priorityAndFork() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...3 { try cluster.startWorker("w-\(index)") }
    let low = try cluster.submit(TinyJob.spec(name: "low"))
    try cluster.wait(for: low, "steps") { $0.progress.step >= 20 }
    let high = try cluster.submit(TinyJob.spec(name: "high", minimumWorkers: 2, priority: 5))
    #expect(try cluster.result(high) == TinyJob.reference.get())
    #expect(try cluster.result(low) == TinyJob.reference.get())
    let folder = URL(fileURLWithPath: try cluster.info(low).directory).appendingPathComponent("checkpoints")
    let oldest = try #require(CheckpointStore(directory: folder.path).list().last)
    #expect(oldest.step < UInt64(TinyJob.epochs) * TinyJob.stepsPerEpoch)
    let forked = try temper(cluster, ["fork", "--from", oldest.path, "--name", "again", "--json"])
    #expect(forked.code == 0 && forked.text.contains("\"step\":\(oldest.step)"))
    #expect(try temper(cluster, ["wait", "again", "--exit-status"]).code == 0)
    #expect(try cluster.result(3) == TinyJob.reference.get())
  }

  @Test("on the number of workers when gradients travel as halves")
  func halfGradients() throws {
    let spec = TinyJob.spec(name: "halves", gradients: "fp16")
    let reference = try TinyJob.undisturbed(spec)
    #expect(try reference != TinyJob.reference.get(), "halves are not floats")
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...3 { try cluster.startWorker("w-\(index)") }
    let job = try cluster.submit(spec)
    try cluster.wait(for: job, "all workers") { $0.workers == 3 }
    #expect(try cluster.result(job) == reference)
  }
}

/// Holds a process to a tenth of its speed, in bites that are too short to look like silence; works without cgroups.
private final class Brake: Sendable {
  private let isReleased = Mutex(false)
  private let process: Int32

  init(_ process: Process) {
    self.process = process.processIdentifier
    let thread = Thread { [self] in
      while isHolding(SIGSTOP) {
        Thread.sleep(forTimeInterval: 0.018)
        guard isHolding(SIGCONT) else { return }
        Thread.sleep(forTimeInterval: 0.002)
      }
    }
    thread.start()
  }

  private func isHolding(_ signal: Int32) -> Bool {
    isReleased.withLock { isReleased in
      if !isReleased { kill(process, signal) }
      return !isReleased
    }
  }

  func release() {
    isReleased.withLock { isReleased in
      if !isReleased { kill(process, SIGCONT) }
      isReleased = true
    }
  }
}
