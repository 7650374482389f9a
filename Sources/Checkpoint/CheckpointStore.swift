// The checkpoints of one job: which there are, which is the newest whole one, which may go.

import Foundation

/// A directory of checkpoints `step-00001234`.
public struct CheckpointStore: Sendable {
  /// A checkpoint that is there, whole or not.
  public struct Entry: Sendable, Hashable {
    /// Its directory.
    public var path: String
    /// The step in its name.
    public var step: UInt64
  }

  /// The outcome of looking for a checkpoint to start from.
  public struct Newest: Sendable {
    /// The newest checkpoint that verifies, and its manifest; nil when there is none.
    public var found: (path: String, manifest: CheckpointManifest)?
    /// Newer ones that were passed over, and what is wrong with each; to be said, not hidden.
    public var damaged: [CheckpointError]
  }

  /// The directory.
  public let directory: String

  /// Names a directory; it need not exist yet.
  public init(directory: String) { self.directory = directory }

  /// Where the checkpoint of a step is, or would be.
  public func path(step: UInt64) -> String { "\(directory)/\(CheckpointName.directory(step: step))" }

  /// The checkpoints by their names, newest first, none opened.
  public func list() -> [Entry] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.compactMap { name in
      CheckpointName.step(ofDirectory: name).map { Entry(path: "\(directory)/\(name)", step: $0) }
    }.sorted { $0.step > $1.step }
  }

  /// The newest checkpoint that verifies; reads and hashes it, and every damaged one that is newer.
  public func newest() -> Newest {
    var damaged: [CheckpointError] = []
    for entry in list() {
      do { return Newest(found: (entry.path, try CheckpointReader.verify(entry.path)), damaged: damaged) } catch {
        damaged.append(
          error as? CheckpointError
            ?? CheckpointError(.inputOutput, "cannot be read", location: entry.path, cause: error))
      }
    }
    return Newest(found: nil, damaged: damaged)
  }

  /// Removes all but the newest `count` checkpoints, but never a final one nor the newest that verifies.
  ///
  /// - Parameter count: at least 1.
  /// - Returns: the directories removed.
  /// - Throws: `inputOutput` naming the directory that cannot be removed.
  @discardableResult
  public func prune(keep count: Int) throws -> [String] {
    let old = list().dropFirst(max(1, count))
    guard !old.isEmpty else { return [] }
    let newest = newest().found?.path
    var removed: [String] = []
    for entry in old where entry.path != newest {
      if let manifest = try? CheckpointReader.manifest(entry.path), manifest.isFinal { continue }
      try remove(entry.path)
      removed.append(entry.path)
    }
    return removed
  }

  /// Removes what killed writers left, and makes durable what stays; only when nothing is being written there.
  public func removeUnfinished() throws {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    where name.hasPrefix("step-") && (name.hasSuffix(".tmp") || name.hasSuffix(".old")) {
      try remove("\(directory)/\(name)")
    }
    // A writer may have been killed between giving a name and making it durable.
    try FileSystem.synchronizeDirectory(directory)
  }

  /// Renames first, so that a half-removed checkpoint is never listed.
  private func remove(_ path: String) throws {
    let doomed = path.hasSuffix(".tmp") || path.hasSuffix(".old") ? path : path + ".old"
    if doomed != path {
      try? FileManager.default.removeItem(atPath: doomed)
      guard rename(path, doomed) == 0 else { throw FileSystem.failure("renaming", path) }
    }
    do { try FileManager.default.removeItem(atPath: doomed) } catch {
      throw CheckpointError(.inputOutput, "cannot be removed", location: doomed, cause: error)
    }
  }
}
