// Takes in a checkpoint that a worker sends: CheckpointBegin with the names, sizes and hashes of its files, each file in
// pieces in order (its name as in CheckpointBegin, `manifest.json` among them), CheckpointCommit. One upload per connection at a time; a new
// Begin throws the old one away. All of it happens on one background queue: a slow or full disk holds up nothing else.
import Checkpoint
import Communication
import Foundation
import RunStore

/// One checkpoint on its way from a worker to the disk; used on the intake queue only.
///
/// `@unchecked Sendable` because every use is on that queue.
final class CheckpointIntake: @unchecked Sendable {
  /// Why a checkpoint is not taken; the worker tells its log, training goes on.
  struct Refusal: Error { var reason: String }

  let begin: WireCheckpointBegin
  private let directory: String
  private let writer: CheckpointWriter
  private var manifestBytes: [UInt8] = []

  /// Largest file taken; bounds what one worker can make the disk hold.
  static let fileByteLimit: UInt64 = 64 << 30
  static let manifestByteLimit: UInt64 = 1 << 20
  /// What a checkpoint must leave free on the disk: the database has to go on.
  static let spareByteCount: UInt64 = 16 << 20

  /// Prepares a place for it.
  ///
  /// - Parameter directory: the job's `checkpoints`.
  /// - Throws: `Refusal`.
  init(_ begin: WireCheckpointBegin, directory: String) throws {
    let names = begin.files.map(\.name)
    guard names.contains(CheckpointManifest.fileName), Set(names).count == names.count else {
      throw Refusal(reason: "a checkpoint of the files \(names): each once, with \(CheckpointManifest.fileName)")
    }
    for file in begin.files {
      let limit = file.name == CheckpointManifest.fileName ? Self.manifestByteLimit : Self.fileByteLimit
      guard file.byteCount <= limit else {
        throw Refusal(reason: "\(file.name) of \(file.byteCount) bytes; at most \(limit) are taken")
      }
    }
    let byteCount = begin.files.reduce(Self.spareByteCount) { $0 + $1.byteCount }
    do { try CoordinatorDirectory.make(directory) } catch { throw Refusal(reason: "\(error)") }
    let free = freeByteCount(of: directory)
    guard free >= byteCount else {
      throw Refusal(
        reason:
          "the disk of \(directory) has \(free) bytes left; the checkpoint needs \(byteCount - Self.spareByteCount), "
          + "and \(Self.spareByteCount) must stay free for the database")
    }
    self.begin = begin
    self.directory = directory
    do { writer = try CheckpointWriter(directory: directory, step: begin.step) } catch {
      throw Refusal(reason: "\(error)")
    }
  }

  /// Takes a piece; one that came before is ignored.
  ///
  /// - Throws: `Refusal`; the checkpoint is abandoned then.
  func append(_ piece: WireFilePiece) throws {
    guard let file = begin.files.first(where: { $0.name == piece.file }) else {
      throw Refusal(reason: "\(piece.file) is not a file of the checkpoint of step \(begin.step)")
    }
    let (end, overflow) = piece.offset.addingReportingOverflow(UInt64(piece.bytes.count))
    guard !overflow, end <= file.byteCount else {
      throw Refusal(reason: "\(piece.file): a piece up to byte \(end); the file has \(file.byteCount)")
    }
    let bytes = [UInt8](piece.bytes)
    do { try writer.append(file: piece.file, offset: Int(piece.offset), bytes: bytes) } catch {
      throw Refusal(reason: "\(error)")
    }
    if piece.file == CheckpointManifest.fileName, Int(piece.offset) == manifestBytes.count { manifestBytes += bytes }
  }

  /// Checks everything, makes it durable and gives it its name; then prunes older ones.
  ///
  /// - Parameter keep: complete checkpoints to keep, at least 1.
  /// - Returns: what stands on disk, the steps that were pruned, and its path.
  /// - Throws: `Refusal`; nothing is left of it then.
  func commit(keep: Int) throws -> (record: CheckpointRecord, pruned: [UInt64], path: String) {
    do {
      let manifest = try CheckpointManifest.decode(
        manifestBytes, location: "\(directory)/\(CheckpointManifest.fileName)")
      try agree(manifest)
      let path = try writer.commit(manifest)
      let record = CheckpointRecord(manifest, job: JobID(begin.job), path: path)
      return (record, prune(keep: keep), path)
    } catch {
      writer.abandon()
      throw error as? Refusal ?? Refusal(reason: "\(error)")
    }
  }

  func abandon() { writer.abandon() }

  /// The announcement and the manifest must speak of the same checkpoint.
  private func agree(_ manifest: CheckpointManifest) throws {
    let announced = begin.files.filter { $0.name != CheckpointManifest.fileName }
      .map { CheckpointManifest.File(name: $0.name, byteCount: Int($0.byteCount), sha256: $0.sha256) }
    guard manifest.step == begin.step, manifest.generation == begin.generation, manifest.isFinal == begin.final,
      Set(manifest.files) == Set(announced)
    else {
      throw Refusal(
        reason: "the manifest (step \(manifest.step), generation \(manifest.generation)) and the announcement "
          + "(step \(begin.step), generation \(begin.generation)) differ")
    }
  }

  /// A checkpoint that cannot be pruned is not worth refusing the new one.
  private func prune(keep: Int) -> [UInt64] {
    let removed = (try? CheckpointStore(directory: directory).prune(keep: keep)) ?? []
    return removed.compactMap { UInt64($0.split(separator: "-").last ?? "") }
  }
}

extension CheckpointRecord {
  /// What the store remembers of a checkpoint on disk.
  init(_ manifest: CheckpointManifest, job: JobID, path: String) {
    self.init(
      job: job, step: manifest.step, epoch: UInt32(clamping: manifest.epoch), generation: manifest.generation,
      name: URL(fileURLWithPath: path).lastPathComponent, isFinal: manifest.isFinal)
  }
}
