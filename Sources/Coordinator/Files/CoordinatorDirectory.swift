// Where a coordinator keeps its files:
//
//   DIR/lock                                   held while a coordinator runs, names its process
//   DIR/coordinator.sqlite                     RunStore, with SQLite's files and a reserve of space beside it
//   DIR/data/<set>/                            stores made for jobs
//   DIR/jobs/<id>-<name>/initial.safetensors   weights to start from, copied at submission
//   DIR/jobs/<id>-<name>/checkpoints/step-*/   Checkpoint
//   DIR/jobs/<id>-<name>/log.txt               what happened, a line each
//   DIR/jobs/<id>-<name>/metrics.jsonl         progress and epochs, a JSON object each
import Foundation
import RunStore

/// The layout of a coordinator's directory.
struct CoordinatorDirectory: Sendable {
  let path: String

  /// Makes the directory and what is in it.
  ///
  /// - Throws: `directory` naming the part that cannot be made.
  init(_ path: String) throws {
    self.path = URL(fileURLWithPath: path).standardizedFileURL.path
    for part in [self.path, data, "\(self.path)/jobs"] { try Self.make(part) }
  }

  var database: String { "\(path)/coordinator.sqlite" }
  var lock: String { "\(path)/lock" }
  var data: String { "\(path)/data" }

  func job(_ record: JobRecord) -> String { "\(path)/jobs/\(record.id.rawValue)-\(record.name)" }
  func checkpoints(_ record: JobRecord) -> String { "\(job(record))/checkpoints" }
  func initialWeights(_ record: JobRecord) -> String { "\(job(record))/initial.safetensors" }

  /// A place for a file that will belong to a job that has no number yet.
  func incoming() -> String { "\(path)/jobs/incoming-\(UUID().uuidString)" }

  /// Removes incoming files of an earlier process.
  func removeIncoming() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "\(path)/jobs")) ?? []
    where name.hasPrefix("incoming-") {
      try? FileManager.default.removeItem(atPath: "\(path)/jobs/\(name)")
    }
  }

  static func make(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw CoordinatorError(
        .directory, "the directory cannot be made", hint: "choose another with --directory, or correct its rights",
        location: path, cause: error)
    }
  }
}

/// Keeps a second coordinator off a directory.
///
/// The lock is the kernel's: it goes with the process, however that ends.
final class DirectoryLock: Sendable {
  private let descriptor: Int32

  /// Takes the lock; when it throws, `deinit` closes the file.
  ///
  /// - Throws: `inUse` naming the process that has it, `directory` when the file cannot be made.
  init(path: String) throws {
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw CoordinatorError(
        .directory, "the lock cannot be made: \(String(cString: strerror(errno)))",
        hint: "choose another --directory, or correct its rights", location: path)
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let owner = (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
      throw CoordinatorError(
        .inUse, "another coordinator (process \(owner ?? "unknown")) uses this directory",
        hint: "stop it, or give this one another --directory", location: path)
    }
    let text = Array("\(getpid())\n".utf8)
    guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, text, text.count, 0) == text.count else {
      let reason = String(cString: strerror(errno))
      throw CoordinatorError(
        .directory, "the lock cannot be written: \(reason)", hint: "free space on the disk", location: path)
    }
  }

  deinit { close(descriptor) }
}
