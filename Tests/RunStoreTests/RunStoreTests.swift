// The store keeps what was decided, whole decisions only, and refuses files that it does not understand.
import Foundation
import RunStore
import Testing

/// A directory that disappears with the test.
final class TemporaryDirectory {
  let path: String
  var database: String { path + "/coordinator.sqlite" }

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("temper-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

@Suite struct RunStoreTests {
  let directory: TemporaryDirectory
  let store: RunStore

  init() throws {
    directory = try TemporaryDirectory()
    store = try RunStore(path: directory.database)
  }

  private func job(_ number: UInt64, key: String = "") -> JobRecord {
    JobRecord(id: JobID(number), name: "strip", spec: "version: 1\n", initialWeights: "/w", idempotencyKey: key)
  }

  private func worker(_ number: UInt64) -> WorkerRecord {
    WorkerRecord(
      id: WorkerID(number), incarnation: "incarnation-\(number)", name: "host-\(number)", host: "host", threads: 2,
      instructionSet: "avx512-vnni", version: "1", processIdentifier: 7, dataEndpoint: "tcp://127.0.0.1:20001",
      ipcEndpoint: "ipc:///run/x")
  }

  private func generation(_ number: UInt64, of job: UInt64, workers: [UInt64]) -> GenerationRecord {
    GenerationRecord(
      job: JobID(job), number: number,
      members: workers.enumerated().map { rank, worker in
        MemberRecord(worker: WorkerID(worker), shards: rank * 4..<rank * 4 + 4)
      })
  }

  @Test("a store that is opened again tells everything that was decided")
  func restart() throws {
    let when = Date(timeIntervalSince1970: 1_700_000_000.25)
    try store.apply([.submitted(job(1, key: "k"))], now: when)
    try store.apply([.dataset(JobID(1), "strip-1f"), .worker(worker(3)), .worker(worker(4))])
    var expected = generation(1, of: 1, workers: [4, 3])
    try store.apply([.generationBegan(expected), .state(JobID(1), .running, reason: "2 workers")])
    try store.apply([.generationStarted(JobID(1), 1)])
    let checkpoint = CheckpointRecord(
      job: JobID(1), step: 300, epoch: 3, generation: 1, name: "step-00000300", isFinal: false)
    try store.apply([.checkpoint(checkpoint)])
    try store.close()

    let again = try RunStore(path: directory.database).load()
    expected.started = true
    var expectedJob = job(1, key: "k")
    expectedJob.state = .running
    expectedJob.reason = "2 workers"
    expectedJob.dataset = "strip-1f"
    expectedJob.generation = 1
    expectedJob.submittedUnixSeconds = 1_700_000_000.25
    #expect(again.jobs == [expectedJob])
    #expect(again.generations == [JobID(1): expected])
    #expect(again.workers == [worker(3), worker(4)])
    #expect(again.checkpoints == [JobID(1): [checkpoint]])
    #expect(again.alumni == [JobID(1): ["incarnation-3", "incarnation-4"]])
    #expect(again.lastWorker == 4)
  }

  @Test("a decision is written whole or not at all")
  func atomic() throws {
    try store.apply([.submitted(job(1))])
    #expect(throws: RunStoreError.self) {
      try store.apply([.state(JobID(1), .running, reason: "x"), .state(JobID(9), .running, reason: "no such job")])
    }
    #expect(try store.job(JobID(1))?.state == .queued)
  }

  @Test("a commit is on disk before apply returns: write-ahead log, synchronous full")
  func durable() throws {
    let settings = try store.durability()
    #expect(settings.journalMode == "wal")
    #expect(settings.synchronous == 2)
  }

  @Test("two jobs cannot have one idempotency key, any number may have none")
  func idempotencyKeys() throws {
    try store.apply([.submitted(job(1)), .submitted(job(2)), .submitted(job(3, key: "a"))])
    #expect(throws: RunStoreError.self) { try store.apply([.submitted(job(4, key: "a"))]) }
    #expect(try store.jobs().map(\.id.rawValue) == [1, 2, 3])
  }

  @Test("a generation's number is never used twice, and never goes back")
  func generationNumbers() throws {
    try store.apply([.submitted(job(1)), .worker(worker(1)), .generationBegan(generation(2, of: 1, workers: [1]))])
    #expect(throws: RunStoreError.self) { try store.apply([.generationBegan(generation(2, of: 1, workers: [1]))]) }
    #expect(throws: RunStoreError.self) { try store.apply([.generationBegan(generation(1, of: 1, workers: [1]))]) }
    try store.apply([
      .generationEnded(JobID(1), 2, reason: "w-1 lost"), .generationBegan(generation(3, of: 1, workers: [])),
    ])
    #expect(try store.generations(of: JobID(1)).map(\.endReason) == ["w-1 lost", nil])
  }

  @Test("a worker that introduces itself again keeps its number and its memberships")
  func workerAgain() throws {
    try store.apply([.submitted(job(1)), .worker(worker(1)), .generationBegan(generation(1, of: 1, workers: [1]))])
    var changed = worker(1)
    changed.dataEndpoint = "tcp://127.0.0.1:20009"
    try store.apply([.worker(changed)])
    #expect(try store.load().workers == [changed])
  }

  @Test("a process that was lost and comes back is another worker of the same incarnation")
  func sameIncarnation() throws {
    var again = worker(2)
    again.incarnation = worker(1).incarnation
    try store.apply([.worker(worker(1)), .worker(again)])
    #expect(try store.load().lastWorker == 2)
  }

  @Test("epochs and checkpoints that are told twice are kept once; a removed checkpoint is gone")
  func repeated() throws {
    let epoch = EpochRecord(
      job: JobID(1), epoch: 1, step: 10, generation: 1, json: "{}", seconds: 2.5, imagesPerSecond: 900)
    let checkpoint = CheckpointRecord(job: JobID(1), step: 10, epoch: 1, generation: 1, name: "a", isFinal: false)
    try store.apply([.submitted(job(1)), .epoch(epoch), .checkpoint(checkpoint)])
    try store.apply([.epoch(epoch), .checkpoint(checkpoint)])
    #expect(try store.epochs(of: JobID(1)) == [epoch])
    #expect(try store.checkpoints(of: JobID(1)) == [checkpoint])
    try store.apply([.checkpointRemoved(JobID(1), step: 10)])
    #expect(try store.checkpoints(of: JobID(1)).isEmpty)
  }

  @Test("a finished job keeps its hash and the time of its end")
  func finished() throws {
    try store.apply([.submitted(job(1))])
    try store.apply(
      [.result(JobID(1), sha256: "ab", json: "{}"), .state(JobID(1), .finished, reason: "done")],
      now: Date(timeIntervalSince1970: 5))
    let finished = try #require(try store.job(JobID(1)))
    #expect(finished.sha256 == "ab")
    #expect(finished.endedUnixSeconds == 5)
    #expect(try store.load().generations.isEmpty)
  }

  @Test("a full disk takes the reserve, not the decision; the reserve comes back with the space")
  func fullDisk() throws {
    let reserve = directory.database + "-reserve"
    func isThere() -> Bool { FileManager.default.fileExists(atPath: reserve) }
    #expect(isThere())
    // SQLite reports its own limit as it reports a full disk.
    try store.limitPages(true)
    #expect(throws: RunStoreError.self) { try store.apply((1...200).map { .submitted(job(UInt64($0))) }) }
    #expect(!isThere())
    #expect(try store.jobs().isEmpty)
    try store.limitPages(false)
    try store.apply([.submitted(job(1))])
    #expect(isThere())
  }

  @Test("a file that is no database is refused with its path and a remedy")
  func garbage() throws {
    let path = directory.path + "/garbage.sqlite"
    try Data(repeating: 0x41, count: 5000).write(to: URL(fileURLWithPath: path))
    let error = #expect(throws: RunStoreError.self) { try RunStore(path: path) }
    #expect(error?.code == .cannotOpen)
    #expect(error?.description.hasPrefix("\(path): error: the store cannot be opened") == true)
  }

  @Test("a store that a newer version wrote is refused")
  func newer() throws {
    try store.recordMigration("999: from the future")
    try store.close()
    let error = #expect(throws: RunStoreError.self) { try RunStore(path: directory.database) }
    #expect(error?.code == .newerFormat)
  }
}
