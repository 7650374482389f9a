// How workers leave and what they exit with.
import Communication
import Foundation
import Testing

@Suite("A worker process", .enabled(if: TestCluster.isEnabled), .serialized)
struct LeavingTests {
  @Test(
    "leaves with 75 on a signal in the middle of a job, and the others go on", arguments: [SIGTERM, SIGINT, SIGUSR1])
  func signaled(number: Int32) throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let leaver = try cluster.startWorker("w-1")
    try cluster.startWorker("w-2")
    let job = try cluster.submit(TinyJob.spec())
    try cluster.wait(for: job, "steps") { $0.progress.step >= TinyJob.Phase.float.step && $0.progress.workers == 2 }
    cluster.signal(leaver, number)
    #expect(try cluster.exitCode(of: leaver) == 75)
    #expect(try !cluster.result(job).isEmpty)
  }

  @Test("saves its state before it leaves when nobody else holds it")
  func lastHolder() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let leaver = try cluster.startWorker("w-1")
    let job = try cluster.submit(TinyJob.spec())
    let before = try cluster.wait(for: job, "steps") { $0.progress.step >= TinyJob.Phase.float.step }
    cluster.signal(leaver, SIGTERM)
    #expect(try cluster.exitCode(of: leaver) == 75)
    try cluster.startWorker("w-2")
    _ = try cluster.result(job)
    let resumed = cluster.log("w-2").split(separator: "\n").first { $0.contains("training from step") }
    let step = resumed?.split(separator: " ").last.flatMap { UInt64($0) } ?? 0
    #expect(step >= before.progress.step, "continues where the first one stopped, not at the last regular checkpoint")
  }

  @Test("exits with 0 under --once when there is nothing to do")
  func once() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let worker = try cluster.startWorker("w-1", ["--once"])
    #expect(try cluster.exitCode(of: worker) == 0)
  }

  @Test("exits with 69 and says how to help when there is no coordinator")
  func unreachable() throws {
    let cluster = try TestCluster()
    let worker = try cluster.startWorker("w-1", ["--coordinator-timeout", "1"])
    #expect(try cluster.exitCode(of: worker) == 69)
    #expect(cluster.log("w-1").contains("hint: start temper-coordinator"))
  }

  @Test("exits with 64 for wrong usage, 78 for an endpoint that is none")
  func usage() throws {
    let cluster = try TestCluster()
    let wrongFlag = try cluster.launch("temper-worker", ["--thread", "2"], log: "flag")
    let wrongThreads = try cluster.launch("temper-worker", ["--threads", "0"], log: "threads")
    let wrongEndpoint = try cluster.launch("temper-worker", ["--coordinator", "localhost"], log: "endpoint")
    #expect(try cluster.exitCode(of: wrongFlag) == 64)
    #expect(try cluster.exitCode(of: wrongThreads) == 64)
    #expect(try cluster.exitCode(of: wrongEndpoint) == 78)
  }

  @Test("prints steps, images and peak memory at the end")
  func totals() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let worker = try cluster.startWorker("w-1")
    let job = try cluster.submit(TinyJob.spec())
    _ = try cluster.result(job)
    cluster.signal(worker, SIGTERM)
    #expect(try cluster.exitCode(of: worker) == 0, "idle after the job: nothing left to do")
    let steps = UInt64(TinyJob.epochs) * TinyJob.stepsPerEpoch
    let log = cluster.log("w-1")
    #expect(log.contains("\(steps) steps, \(steps * 32) images, peak resident memory "))
    let mebibytes = log.split(separator: " ").dropLast().last.flatMap { Double($0) } ?? 0
    #expect((10...500).contains(mebibytes), "a tiny net and a tiny dataset")
  }
}
