// One SHA-256 over weights, optimizer, observers and BatchNorm statistics, whatever the cluster and whatever is killed.
// Real processes over real sockets: switched on by TEMPER_PROCESS_TESTS=1, executables from .build/release or TEMPER_EXECUTABLES.
import Checkpoint
import Communication
import Foundation
import Graph
import Testing

@Suite("The result does not depend on the cluster", .enabled(if: TestCluster.isEnabled), .serialized)
struct BitIdentityTests {
  @Test("nor on the number of workers", arguments: [2, 3, 4])
  func workers(count: Int) throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...count { try cluster.startWorker("w-\(index)") }
    let job = try cluster.submit(TinyJob.spec())
    try cluster.wait(for: job, "all workers") { $0.progress.workers == UInt32(count) }
    #expect(try cluster.result(job) == TinyJob.reference.get())
  }

  @Test("nor on the number of threads", arguments: [1, 2])
  func threads(workers: Int) throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...workers { try cluster.startWorker("w-\(index)", threads: 2) }
    #expect(try cluster.result(try cluster.submit(TinyJob.spec())) == TinyJob.reference.get())
  }

  @Test("nor on a worker that is killed and replaced", arguments: TinyJob.Phase.allCases)
  func workerKilled(phase: TinyJob.Phase) throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...2 { try cluster.startWorker("w-\(index)") }
    // The job waits for the replacement, which would come too late otherwise on a fast machine.
    let job = try cluster.submit(TinyJob.spec(minimumWorkers: 2))
    try cluster.wait(for: job, "\(phase)") { $0.progress.step >= phase.step && $0.progress.workers == 2 }
    cluster.signal(cluster.workers["w-1"], SIGKILL)
    try cluster.startWorker("w-3")
    #expect(try cluster.result(job) == TinyJob.reference.get())
    #expect(cluster.log("w-3").contains("from rank"), "the replacement takes the state from its peer")
  }

  @Test("nor on a coordinator that is killed and started again", arguments: TinyJob.Phase.allCases)
  func coordinatorKilled(phase: TinyJob.Phase) throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...2 { try cluster.startWorker("w-\(index)") }
    let job = try cluster.submit(TinyJob.spec())
    let before = try cluster.wait(for: job, "\(phase)") { $0.progress.step >= phase.step && $0.progress.workers == 2 }
    cluster.signal(cluster.coordinator, SIGKILL)
    try cluster.startCoordinator()
    try cluster.wait(for: job, "progress") { $0.progress.step > before.progress.step }
    #expect(cluster.ends(from: before.generation) == [], "the generation goes on undisturbed")
    #expect(try cluster.result(job) == TinyJob.reference.get())
  }

  @Test("nor on a coordinator that is away when the job ends")
  func coordinatorAway() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...2 { try cluster.startWorker("w-\(index)") }
    let job = try cluster.submit(TinyJob.spec())
    try cluster.wait(for: job, "the quantized phase") { $0.progress.step >= TinyJob.Phase.quantized.step }
    cluster.signal(cluster.coordinator, SIGKILL)
    try cluster.waitForLog("w-1", "all steps done")
    try cluster.startCoordinator()
    #expect(try cluster.result(job) == TinyJob.reference.get())
  }

  @Test("and is the hash of the tensors in the final checkpoint")
  func hashOnDisk() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.startWorker("w-1")
    let job = try cluster.submit(TinyJob.spec())
    let hash = try cluster.result(job)
    let folder = URL(fileURLWithPath: try cluster.info(job).directory).appendingPathComponent("checkpoints")
    let newest = try #require(CheckpointStore(directory: folder.path).newest().found)
    #expect(newest.manifest.isFinal && newest.manifest.step == UInt64(TinyJob.epochs) * TinyJob.stepsPerEpoch)
    func tensors(_ name: String) throws -> [NamedTensor] {
      let path = newest.path + "/" + name
      return try Safetensors.decode([UInt8](try Data(contentsOf: URL(fileURLWithPath: path))), location: path)
    }
    let state = try tensors(CheckpointManifest.modelFileName) + tensors(CheckpointManifest.stateFileName)
    #expect(stateHash(tensors: state) == hash && newest.manifest.stateSHA256 == hash)
    #expect(hash == (try TinyJob.reference.get()))
  }

  @Test("nor on everything being killed and resumed from the checkpoint", arguments: TinyJob.Phase.allCases)
  func everythingKilled(phase: TinyJob.Phase) throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...2 { try cluster.startWorker("w-\(index)") }
    let job = try cluster.submit(TinyJob.spec(everySteps: 5))
    try cluster.wait(for: job, "\(phase)") { $0.progress.step >= phase.step }
    cluster.killEverything()
    try cluster.startCoordinator()
    try cluster.startWorker("w-3")
    #expect(try cluster.result(job) == TinyJob.reference.get())
    #expect(cluster.log("w-3").contains("from jobs/"), "it starts from the checkpoint, not from the beginning")
  }

  @Test("nor on a worker that freezes")
  func workerFrozen() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    for index in 1...2 { try cluster.startWorker("w-\(index)") }
    let job = try cluster.submit(TinyJob.spec())
    let before = try cluster.wait(for: job, "steps") {
      $0.progress.step >= TinyJob.Phase.float.step && $0.progress.workers == 2
    }
    let start = Date()
    cluster.signal(cluster.workers["w-2"], SIGSTOP)
    try cluster.wait(for: job, "the next generation") { $0.generation > before.generation }
    #expect(Date().timeIntervalSince(start) < 6, "found within 4 s, and a second to go on")
    cluster.signal(cluster.workers["w-2"], SIGCONT)
    #expect(try cluster.result(job) == TinyJob.reference.get())
  }

  @Test("nor on a damaged checkpoint: the one before is used, and it is said")
  func damagedCheckpoint() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.startWorker("w-1")
    let job = try cluster.submit(TinyJob.spec(everySteps: 5))
    let info = try cluster.wait(for: job, "steps") { $0.progress.step >= TinyJob.Phase.float.step }
    cluster.killEverything()
    let folder = URL(fileURLWithPath: info.directory).appendingPathComponent("checkpoints")
    let newest = try #require(
      try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { !$0.hasSuffix(".tmp") }.max())
    let file = folder.appendingPathComponent(newest).appendingPathComponent("state.safetensors")
    var bytes = try Data(contentsOf: file)
    bytes[bytes.count - 1] ^= 1
    try bytes.write(to: file)
    try cluster.startCoordinator()
    try cluster.startWorker("w-2")
    #expect(try cluster.result(job) == TinyJob.reference.get())
    #expect(cluster.log("coordinator").contains("damaged"))
  }
}
