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

  /// Pretends that a later version has migrated the file.
  package func recordMigration(_ name: String) throws {
    try queue.write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES (?)", arguments: [name]) }
  }
}
