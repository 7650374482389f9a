// What tests and `temper doctor` ask of the store itself.
import GRDB

extension RunStore {
  /// How commits reach the disk, as SQLite reports it: must be `wal` and 2 (FULL).
  package func durability() throws -> (journalMode: String, synchronous: Int) {
    try queue.read { database in
      (
        try String.fetchOne(database, sql: "PRAGMA journal_mode") ?? "",
        try Int.fetchOne(database, sql: "PRAGMA synchronous") ?? -1
      )
    }
  }

  /// Lets the file grow no further, as a full disk would.
  package func limitPages(_ isLimited: Bool) throws {
    try queue.writeWithoutTransaction { database in
      let limit = isLimited ? try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0 : 1_000_000
      _ = try Int.fetchOne(database, sql: "PRAGMA max_page_count = \(limit)")
    }
  }

  /// Pretends that a later version has migrated the file.
  package func recordMigration(_ name: String) throws {
    try queue.write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES (?)", arguments: [name]) }
  }
}
