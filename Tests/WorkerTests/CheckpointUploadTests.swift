// A checkpoint on its way to a coordinator that takes it, refuses it, or is started again in the middle; and data on its way here.
import Checkpoint
import Communication
import Data
import Foundation
import JobSpec
import Synchronization
import Testing
import Training

@testable import Worker

/// A coordinator that takes checkpoints, with faults on order.
final class CheckpointTaker: CoordinatorRequests {
  struct State {
    var begin: WireCheckpointBegin?
    var files: [String: [UInt8]] = [:]
    var committed: [UInt64] = []
    var begins = 0
    var dropConnectionAtPiece: Int?
    var pieces = 0
    var refusal = ""
  }
  let state = Mutex(State())

  func request(_ body: WireEnvelope.OneOf_Body, timeout: Duration) throws -> WireEnvelope.OneOf_Body? {
    try state.withLock { state in
      switch body {
      case .checkpointBegin(let begin):
        state.begin = begin
        state.files = [:]
        state.begins += 1
        return .acknowledged(WireAcknowledged())
      case .filePiece(let piece):
        state.pieces += 1
        if state.pieces == state.dropConnectionAtPiece {
          state.begin = nil
          throw CommunicationError(.unreachable, "started again")
        }
        state.files[piece.file, default: []] += piece.bytes
        return .acknowledged(WireAcknowledged())
      case .checkpointCommit(let commit):
        var result = WireCheckpointResult()
        result.accepted = state.refusal.isEmpty
        result.reason = state.refusal
        if result.accepted { state.committed.append(commit.step) }
        return .checkpointResult(result)
      default: throw CommunicationError(.refused, "takes checkpoints only")
      }
    }
  }
}

@Suite("A checkpoint's delivery")
struct CheckpointUploadTests {
  let key = GenerationKey(job: 3, generation: 5)

  /// A job on a tiny strip.
  static func makeMemory() throws -> JobMemory {
    let spec = """
      version: 1
      name: upload
      data: {source: strip, strip: {trainCount: 32, testCount: 10, size: 32}}
      model: {architecture: resnet10, width: 0.125, stem: small}
      training: {epochs: 2, batchSize: 16, optimizer: {learningRate: 0.1}}
      quantization: {startEpoch: 2}
      """
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let store = try StorePreparation.prepare(try JobSpec.parse(spec, file: "test").data, directory: directory)
    return try JobMemory(
      StandbyOrder(job: 3, spec: spec, dataset: "data/strip"), dataset: try store.load())
  }

  private func upload(_ memory: JobMemory, isFinal: Bool = false) throws -> CheckpointUpload {
    let state = try TrainingState.initial(plan: memory.plan)
    let snapshot = try #require(memory.snapshots.take(of: state, plan: memory.plan, patience: .zero))
    return CheckpointUpload(snapshot, memory: memory, isFinal: isFinal)
  }

  @Test("brings the files that a manifest describes, and the state they hold is the snapshot's")
  func whole() throws {
    let memory = try Self.makeMemory()
    let taker = CheckpointTaker()
    let upload = try upload(memory, isFinal: true)
    #expect(try upload.attempt(key, taker, Interruption()) == .delivered)
    let (begin, files) = taker.state.withLock { ($0.begin, $0.files) }
    let manifest = try CheckpointManifest.decode(try #require(files["manifest.json"]), location: "manifest")
    for file in try #require(begin).files {
      let bytes = try #require(files[file.name])
      #expect(file.byteCount == UInt64(bytes.count) && file.sha256 == SHA256.hexadecimal(of: bytes))
    }
    let tensors =
      try Safetensors.decode(try #require(files["model.safetensors"]), location: "model")
      + Safetensors.decode(try #require(files["state.safetensors"]), location: "state")
    #expect(manifest.stateSHA256 == stateHash(tensors: tensors) && manifest.stateSHA256 == upload.stateSHA256)
    #expect(manifest.generation == 5 && manifest.step == 0 && manifest.isFinal && manifest.job == "upload")
  }

  @Test("begins again after a lost connection, with the same files")
  func lostConnection() throws {
    let memory = try Self.makeMemory()
    let taker = CheckpointTaker()
    taker.state.withLock { $0.dropConnectionAtPiece = 2 }
    let upload = try upload(memory)
    #expect(throws: CommunicationError.self) { try upload.attempt(key, taker, Interruption()) }
    #expect(try upload.attempt(key, taker, Interruption()) == .delivered)
    #expect(taker.state.withLock { $0.begins } == 2)
  }

  @Test("tells the coordinator's reason when it is refused")
  func refused() throws {
    let taker = CheckpointTaker()
    taker.state.withLock { $0.refusal = "disk full" }
    let upload = try upload(try Self.makeMemory())
    #expect(try upload.attempt(key, taker, Interruption()) == .refused(reason: "disk full"))
  }

  @Test("gives the snapshot back once the files are made, so the next one can be taken")
  func slot() throws {
    let memory = try Self.makeMemory()
    let state = try TrainingState.initial(plan: memory.plan)
    let first = try upload(memory)
    #expect(memory.snapshots.take(of: state, plan: memory.plan, patience: .milliseconds(1)) == nil)
    _ = try first.attempt(key, CheckpointTaker(), Interruption())
    #expect(memory.snapshots.take(of: state, plan: memory.plan, patience: .milliseconds(1)) != nil)
    first.settle()
    memory.snapshots.release()
    let second = try upload(memory)
    second.settle()
    #expect(throws: WorkerError.self, "given up") { try second.attempt(key, CheckpointTaker(), Interruption()) }
  }
}

@Suite("A dataset's arrival")
struct DatasetFetcherTests {
  @Test("fetches every chunk, and one that arrives damaged a second time")
  func damagedOnce() throws {
    let (files, manifest) = try Self.storeFiles()
    let victim = "data/strip/" + manifest.train.chunks[0].file
    let spoiled = Record<Int>()
    let table = FileTable(files: files) { piece in
      guard piece.file == victim, spoiled.all.isEmpty else { return }
      spoiled.add(1)
      piece.bytes[piece.bytes.count / 2] ^= 1
    }
    let fetcher = DatasetFetcher(files: CoordinatorFiles(coordinator: table))
    let dataset = try fetcher.fetch("data/strip", Interruption())
    #expect(spoiled.all.count == 1)
    #expect(dataset.train.count == 32 && dataset.test.count == 10)
  }

  @Test("gives up a chunk that stays damaged, naming it")
  func damagedAlways() throws {
    let (files, manifest) = try Self.storeFiles()
    let victim = "data/strip/" + manifest.train.chunks[0].file
    let table = FileTable(files: files) { if $0.file == victim { $0.bytes[$0.bytes.count / 2] ^= 1 } }
    let fetcher = DatasetFetcher(files: CoordinatorFiles(coordinator: table))
    let error = #expect(throws: DataError.self) { try fetcher.fetch("data/strip", Interruption()) }
    #expect(error?.location == victim)
  }

  static func storeFiles() throws -> ([String: [UInt8]], StoreManifest) {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: directory) }
    var data = JobSpec(name: "x").data
    data.strip.trainCount = 32
    data.strip.testCount = 10
    data.strip.size = 32
    let store = try StorePreparation.prepare(data, directory: directory.path)
    var files = ["data/strip/manifest.json": store.manifest.encoded()]
    for address in DatasetAssembler(manifest: store.manifest).missing {
      files["data/strip/" + store.manifest[address.split].chunks[address.index].file] = try store.bytes(of: address)
    }
    return (files, store.manifest)
  }
}
