// One checkpoint on its way from a snapshot to the coordinator, on the outbox's thread.
// The coordinator gets the files of the design's section 8 and the job: CheckpointBegin with their hashes, every file in pieces
// (FilePiece, each acknowledged), CheckpointCommit. A lost connection begins again: the coordinator knows a checkpoint by its step.
import Checkpoint
import Communication
import Data
import Foundation
import JobSpec
import Training

/// A checkpoint that is delivered at its own pace.
///
/// `@unchecked Sendable` because it is made on the training thread and from then on belongs to the outbox's thread.
final class CheckpointUpload: @unchecked Sendable {
  private let memory: JobMemory
  private let step: Int
  private let isFinal: Bool
  private var snapshot: TrainingState?
  private var contents: (model: [UInt8], state: [UInt8])?
  /// Of the whole state; set with the first attempt.
  private(set) var stateSHA256 = ""

  /// Takes over a snapshot from the memory's slot; it goes back as soon as the files are made.
  init(_ snapshot: TrainingState, memory: JobMemory, isFinal: Bool) {
    self.snapshot = snapshot
    self.memory = memory
    self.isFinal = isFinal
    step = snapshot.committedStep
  }

  /// Tries to deliver everything under a generation.
  ///
  /// - Throws: what the connection throws; `WorkerError` `.interrupted` when the job is over.
  func attempt(
    _ key: GenerationKey, _ coordinator: any CoordinatorRequests, _ interruption: Interruption
  ) throws -> Delivery.Outcome {
    let files = try files(for: key)
    let begin = try coordinator.request(.checkpointBegin(begin(key, files)), timeout: .seconds(10))
    if let outcome = Self.outcome(begin) { return outcome }
    for (name, bytes) in files {
      var offset = 0
      repeat {
        try interruption.check()
        var piece = WireFilePiece()
        piece.file = name
        piece.offset = UInt64(offset)
        piece.totalByteCount = UInt64(bytes.count)
        piece.bytes = Data(bytes[offset..<min(bytes.count, offset + CoordinatorFiles.pieceByteCount)])
        offset += piece.bytes.count
        let reply = try coordinator.request(.filePiece(piece), timeout: .seconds(10))
        if let outcome = Self.outcome(reply) { return outcome }
      } while offset < bytes.count
    }
    var commit = WireCheckpointCommit()
    commit.job = key.job
    commit.generation = key.generation
    commit.step = UInt64(step)
    let reply = try coordinator.request(.checkpointCommit(commit), timeout: .seconds(60))
    guard let outcome = Self.outcome(reply) else {
      throw CommunicationError(.malformed, "the coordinator does not answer CheckpointCommit with CheckpointResult")
    }
    return outcome
  }

  /// Delivered or given up: the memory is free again.
  func settle() {
    releaseSnapshot()
    contents = nil
  }

  private func releaseSnapshot() {
    guard snapshot != nil else { return }
    snapshot = nil
    memory.snapshots.release()
  }

  /// The coordinator's verdict, nil to go on; a checkpoint that it has already is accepted at once.
  private static func outcome(_ reply: WireEnvelope.OneOf_Body?) -> Delivery.Outcome? {
    guard case .checkpointResult(let result) = reply else { return nil }
    return result.accepted ? .delivered : .refused(reason: result.reason)
  }

  private func files(for key: GenerationKey) throws -> [(name: String, bytes: [UInt8])] {
    if contents == nil, let snapshot {
      let tensors = snapshot.tensors()
      contents = (try Safetensors.encode(tensors.model), try Safetensors.encode(tensors.state))
      stateSHA256 = stateHash(tensors: tensors.model + tensors.state)
      releaseSnapshot()
    }
    guard let contents else { throw WorkerError.interrupted("the checkpoint of step \(step) was given up") }
    let manifest = try manifest(key, contents.model, contents.state).encoded()
    return [
      (CheckpointManifest.modelFileName, contents.model), (CheckpointManifest.stateFileName, contents.state),
      (CheckpointManifest.jobFileName, Array(memory.specification.utf8)), (CheckpointManifest.fileName, manifest),
    ]
  }

  private func manifest(_ key: GenerationKey, _ model: [UInt8], _ state: [UInt8]) throws -> CheckpointManifest {
    let plan = memory.plan
    return CheckpointManifest(
      job: plan.spec.name, step: UInt64(step), epoch: step / plan.stepsPerEpoch + 1,
      stepInEpoch: step % plan.stepsPerEpoch, generation: key.generation,
      phase: plan.phase(atStep: max(0, step - 1)).precision.rawValue, seed: plan.spec.seed,
      specSHA256: SHA256.hexadecimal(of: Array(memory.specification.utf8)),
      datasetIdentity: memory.dataset.manifest.identity, programVersion: WorkerConfiguration.programVersion,
      files: [
        CheckpointManifest.File(name: CheckpointManifest.modelFileName, bytes: model),
        CheckpointManifest.File(name: CheckpointManifest.stateFileName, bytes: state),
        CheckpointManifest.File(name: CheckpointManifest.jobFileName, bytes: Array(memory.specification.utf8)),
      ], stateSHA256: stateSHA256, isFinal: isFinal)
  }

  private func begin(_ key: GenerationKey, _ files: [(name: String, bytes: [UInt8])]) -> WireCheckpointBegin {
    var begin = WireCheckpointBegin()
    begin.job = key.job
    begin.generation = key.generation
    begin.step = UInt64(step)
    // The epoch that the last committed step belongs to.
    begin.epoch = UInt32((step + memory.plan.stepsPerEpoch - 1) / memory.plan.stepsPerEpoch)
    begin.final = isFinal
    begin.files = files.map { name, bytes in
      var file = WireCheckpointFile()
      file.name = name
      file.byteCount = UInt64(bytes.count)
      file.sha256 = SHA256.hexadecimal(of: bytes)
      return file
    }
    return begin
  }
}
