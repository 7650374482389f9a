// The SQLite schema, as a chain of migrations. Rules: a migration that has been released is never edited, only followed
// by another; units stand in the column names; numbers that are UInt64 in Swift are stored as INTEGER (they count jobs,
// generations and steps and stay far below 2^63).
import GRDB

enum Schema {
  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1: jobs, workers, generations, checkpoints, epochs") { database in
      try database.execute(
        sql: """
          CREATE TABLE job (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT NOT NULL,
            spec TEXT NOT NULL,
            initialWeights TEXT NOT NULL,
            idempotencyKey TEXT UNIQUE,  -- NULL: none given
            dataset TEXT NOT NULL,
            generation INTEGER NOT NULL,
            submittedUnixSeconds REAL NOT NULL,
            endedUnixSeconds REAL NOT NULL,
            sha256 TEXT NOT NULL,
            result TEXT NOT NULL
          ) STRICT;

          CREATE TABLE worker (
            id INTEGER PRIMARY KEY,
            incarnation TEXT NOT NULL,  -- a process that was lost and comes back gets another id
            name TEXT NOT NULL,
            host TEXT NOT NULL,
            threads INTEGER NOT NULL,
            instructionSet TEXT NOT NULL,
            version TEXT NOT NULL,
            processIdentifier INTEGER NOT NULL,
            dataEndpoint TEXT NOT NULL,
            ipcEndpoint TEXT NOT NULL
          ) STRICT;

          CREATE TABLE generation (
            job INTEGER NOT NULL REFERENCES job(id),
            number INTEGER NOT NULL,
            started INTEGER NOT NULL,
            endReason TEXT,  -- NULL while it lasts
            PRIMARY KEY (job, number)
          ) STRICT, WITHOUT ROWID;

          CREATE TABLE member (
            job INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            rank INTEGER NOT NULL,
            worker INTEGER NOT NULL REFERENCES worker(id),
            firstShard INTEGER NOT NULL,
            shardCount INTEGER NOT NULL CHECK (shardCount > 0),
            PRIMARY KEY (job, generation, rank),
            FOREIGN KEY (job, generation) REFERENCES generation(job, number)
          ) STRICT, WITHOUT ROWID;

          CREATE TABLE checkpoint (
            job INTEGER NOT NULL REFERENCES job(id),
            step INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            name TEXT NOT NULL,
            isFinal INTEGER NOT NULL,
            PRIMARY KEY (job, step)
          ) STRICT, WITHOUT ROWID;

          CREATE TABLE epoch (
            job INTEGER NOT NULL REFERENCES job(id),
            epoch INTEGER NOT NULL,
            step INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            json TEXT NOT NULL,
            seconds REAL NOT NULL,
            imagesPerSecond REAL NOT NULL,
            PRIMARY KEY (job, epoch)
          ) STRICT, WITHOUT ROWID;
          """)
    }
    migrator.registerMigration("2: what a job has been asked to do") { database in
      // Empty: nothing. JobIntent's names otherwise.
      try database.execute(sql: "ALTER TABLE job ADD COLUMN intent TEXT NOT NULL DEFAULT ''")
    }
    return migrator
  }
}
