// The coordinator's memory: one SQLite file, write-ahead log, every commit on disk before `apply` returns.
// Rules:
// - One process writes (the coordinator holds a lock on its directory); the file must be on a local disk, because a
//   write-ahead log needs shared memory. Other processes may read.
// - All changes of one decision are one transaction. Nothing that reveals the decision leaves before `apply` returns.
// - The time stamped on rows is the wall clock's and only for people; no decision depends on it.
public import Foundation
import GRDB

/// The coordinator's store of jobs, workers, generations and checkpoints.
public final class RunStore: Sendable {
  /// The database file.
  public let path: String
  let queue: DatabaseQueue
  private let reserve: SpaceReserve

  /// Opens the store, making or migrating it as needed.
  ///
  /// - Parameter path: a file on a local disk; `-wal` and `-shm` files appear beside it, and
  ///   `-reserve`, 8 MiB that are given up when the disk is full.
  /// - Throws: `cannotOpen` when the file cannot be opened or is not a database, `newerFormat` when a newer program
  ///   wrote it.
  public init(path: String) throws {
    self.path = path
    reserve = SpaceReserve(path: path + "-reserve")
    var configuration = Configuration()
    configuration.journalMode = .wal
    configuration.busyMode = .timeout(5)
    configuration.label = "RunStore"
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      // GRDB sets NORMAL with WAL, which may lose the last commits in a power failure.
      try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
      let unknown = try queue.read { try Schema.migrator.hasBeenSuperseded($0) }
      guard !unknown else {
        throw RunStoreError(
          .newerFormat, "the store was written by a newer version of Temper",
          hint: "start that version, or give another --directory", location: path)
      }
      try Schema.migrator.migrate(queue)
    } catch let error as RunStoreError {
      throw error
    } catch {
      throw RunStoreError(
        .cannotOpen, "the store cannot be opened", hint: "check that the directory is writable and on a local disk",
        location: path, cause: error)
    }
  }

  /// Writes all changes of one decision, durably, or none of them.
  ///
  /// - Parameters:
  ///   - changes: in the order in which they were decided.
  ///   - now: the wall clock, for the stamps that people read.
  /// - Throws: `cannotWrite` (disk full, a change that refers to an unknown job); the decision must not be acted upon.
  public func apply(_ changes: [StoreChange], now: Date = Date()) throws {
    guard !changes.isEmpty else { return }
    do {
      do {
        try write(changes, now)
        reserve.replenish()
      } catch let error as DatabaseError where error.resultCode == .SQLITE_FULL && reserve.release() {
        try write(changes, now)
      }
    } catch {
      throw RunStoreError(
        .cannotWrite, "\(changes.count) changes could not be written",
        hint: "free space on the disk, then start the coordinator again", location: path, cause: error)
    }
  }

  private func write(_ changes: [StoreChange], _ now: Date) throws {
    try queue.write { database in
      for change in changes { try Self.apply(change, to: database, now: now.timeIntervalSince1970) }
    }
  }

  /// Closes the file after what is being written; the store must not be used afterwards.
  ///
  /// - Throws: `cannotWrite` when SQLite reports an error while closing.
  public func close() throws {
    do { try queue.close() } catch {
      throw RunStoreError(
        .cannotWrite, "the store could not be closed", hint: "check the disk", location: path, cause: error)
    }
  }
}
