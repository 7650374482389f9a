// Writes a checkpoint so that it is there whole or not at all: files into step-N.tmp, each fsynced, the directory fsynced,
// renamed to step-N, the parent fsynced. Whoever is killed in between leaves a .tmp that no reader looks at.

import Foundation

/// One checkpoint being written, piece by piece as files arrive; not for several threads at a time.
public final class CheckpointWriter {
  private struct OpenFile {
    var descriptor: Int32
    var byteCount = 0
    var hash = SHA256()
  }

  /// Where the files are gathered.
  public let temporaryDirectory: String
  private let parent: String
  private let step: UInt64
  private let openFile: (String) -> Int32
  private var files: [String: OpenFile] = [:]
  private var isOver = false

  /// Begins a checkpoint; an unfinished one of the same step is thrown away.
  ///
  /// - Parameters:
  ///   - step: global steps committed; names the directory.
  ///   - parent: the directory of the job's checkpoints; made if missing.
  /// - Throws: `inputOutput` or `diskFull`.
  public convenience init(directory parent: String, step: UInt64) throws {
    try self.init(directory: parent, step: step) { open($0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644) }
  }

  /// Takes how files are opened, for tests of full disks.
  init(directory parent: String, step: UInt64, open openFile: @escaping (String) -> Int32) throws {
    self.parent = parent
    self.step = step
    self.openFile = openFile
    temporaryDirectory = "\(parent)/\(CheckpointName.directory(step: step)).tmp"
    do {
      try? FileManager.default.removeItem(atPath: temporaryDirectory)
      try FileManager.default.createDirectory(atPath: temporaryDirectory, withIntermediateDirectories: true)
    } catch {
      throw CheckpointError(.inputOutput, "cannot be made", location: temporaryDirectory, cause: error)
    }
  }

  deinit { abandon() }

  /// Appends bytes to a file, which the first piece makes; a piece that was written before is ignored.
  ///
  /// - Throws: `invalidName`, `misuse` when a piece is missing, `diskFull`, `inputOutput`. After an error the checkpoint is
  ///   abandoned and nothing of it is left.
  public func append(file name: String, offset: Int, bytes: [UInt8]) throws {
    do {
      guard !isOver else { throw CheckpointError(.misuse, "the checkpoint is committed or abandoned", location: name) }
      try CheckpointName.check(name, location: temporaryDirectory)
      let path = "\(temporaryDirectory)/\(name)"
      if files[name] == nil {
        let descriptor = openFile(path)
        guard descriptor >= 0 else { throw FileSystem.failure("making the file", path) }
        files[name] = OpenFile(descriptor: descriptor)
      }
      guard var file = files[name] else { return }
      if offset >= 0, offset + bytes.count <= file.byteCount { return }
      guard offset == file.byteCount else {
        throw CheckpointError(.misuse, "a piece at \(offset); the file has \(file.byteCount) bytes", location: path)
      }
      try bytes.withUnsafeBytes { try FileSystem.write($0, to: file.descriptor, path: path) }
      file.hash.update(bytes)
      file.byteCount += bytes.count
      files[name] = file
    } catch {
      abandon()
      throw error
    }
  }

  /// Bytes of a file so far; 0 when nothing came.
  public func byteCount(of name: String) -> Int { files[name]?.byteCount ?? 0 }

  /// Checks the files against the manifest, makes everything durable and gives the checkpoint its name.
  ///
  /// A whole checkpoint of the same step with the same files is kept and this one dropped, unless only this one is final; any
  /// other of the same step is replaced.
  /// - Returns: the checkpoint's directory.
  /// - Throws: `damaged` naming the file that differs from the manifest, `diskFull`, `inputOutput`; nothing is left then.
  @discardableResult
  public func commit(_ manifest: CheckpointManifest) throws -> String {
    do {
      guard !isOver else { throw CheckpointError(.misuse, "committed twice", location: temporaryDirectory) }
      guard manifest.step == step else {
        throw CheckpointError(
          .misuse, "a manifest of step \(manifest.step) for step \(step)", location: temporaryDirectory)
      }
      try compare(with: manifest)
      if files[CheckpointManifest.fileName] == nil {
        try append(file: CheckpointManifest.fileName, offset: 0, bytes: try manifest.encoded())
      }
      for (name, file) in files { try FileSystem.synchronize(file.descriptor, path: "\(temporaryDirectory)/\(name)") }
      try FileSystem.synchronizeDirectory(temporaryDirectory)
      let final = "\(parent)/\(CheckpointName.directory(step: step))"
      if let standing = try? CheckpointReader.verify(final), standing.files == manifest.files,
        standing.isFinal || !manifest.isFinal
      {
        abandon()
        return final
      }
      let old = final + ".old"
      try? FileManager.default.removeItem(atPath: old)
      rename(final, old)  // fails when there is none, as is usual
      guard rename(temporaryDirectory, final) == 0 else { throw FileSystem.failure("renaming", temporaryDirectory) }
      closeFiles()
      isOver = true
      try FileSystem.synchronizeDirectory(parent)
      try? FileManager.default.removeItem(atPath: old)
      return final
    } catch {
      abandon()
      throw error as? CheckpointError
        ?? CheckpointError(.inputOutput, "cannot be committed", location: temporaryDirectory, cause: error)
    }
  }

  private func compare(with manifest: CheckpointManifest) throws {
    for expected in manifest.files {
      try CheckpointName.check(expected.name, location: temporaryDirectory)
      guard expected.name != CheckpointManifest.fileName, let file = files[expected.name] else {
        throw CheckpointError(
          .damaged, "\(expected.name) is in the manifest but never came", location: temporaryDirectory)
      }
      let found = file.hash.hexadecimal()
      guard file.byteCount == expected.byteCount, found == expected.sha256 else {
        throw CheckpointError(
          .damaged,
          "\(file.byteCount) bytes with SHA-256 \(found); the manifest says \(expected.byteCount), \(expected.sha256)",
          location: "\(temporaryDirectory)/\(expected.name)")
      }
    }
    let known = Set(manifest.files.map(\.name) + [CheckpointManifest.fileName])
    if let stranger = files.keys.first(where: { !known.contains($0) }) {
      throw CheckpointError(.damaged, "\(stranger) is not in the manifest", location: temporaryDirectory)
    }
  }

  /// Gives up and removes what was written.
  public func abandon() {
    guard !isOver else { return }
    isOver = true
    closeFiles()
    try? FileManager.default.removeItem(atPath: temporaryDirectory)
  }

  private func closeFiles() {
    for file in files.values { close(file.descriptor) }
    files.removeAll()
  }

  /// Writes a whole checkpoint from memory.
  ///
  /// - Parameters:
  ///   - parent: directory of checkpoints.
  ///   - files: name and bytes of each; the manifest's own list of files is made from them.
  ///   - manifest: everything else.
  /// - Returns: the checkpoint's directory.
  @discardableResult
  public static func write(
    directory parent: String, files: [(name: String, bytes: [UInt8])], manifest: CheckpointManifest
  ) throws -> String {
    var manifest = manifest
    manifest.files = files.map { CheckpointManifest.File(name: $0.name, bytes: $0.bytes) }
    let writer = try CheckpointWriter(directory: parent, step: manifest.step)
    for file in files { try writer.append(file: file.name, offset: 0, bytes: file.bytes) }
    return try writer.commit(manifest)
  }
}
