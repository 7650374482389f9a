// How each change is written.
import GRDB

extension RunStore {
  static func apply(_ change: StoreChange, to database: Database, now: Double) throws {
    switch change {
    case .submitted(let job):
      try database.execute(
        sql: "INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, NULLIF(?, ''), ?, ?, ?, ?, ?, ?, ?)",
        arguments: [
          job.id.rawValue, job.name, job.state.rawValue, job.reason, job.spec, job.initialWeights, job.idempotencyKey,
          job.dataset, job.generation, now, job.endedUnixSeconds, job.sha256, job.result,
          job.intent?.rawValue ?? "",
        ])
    case .dataset(let job, let name):
      try update(database, "UPDATE job SET dataset = ? WHERE id = ?", [name, job.rawValue])
    case .state(let job, let state, let reason):
      try update(
        database, "UPDATE job SET state = ?, reason = ?, endedUnixSeconds = ? WHERE id = ?",
        [state.rawValue, reason, state.isOver ? now : 0, job.rawValue])
    case .intent(let job, let intent):
      try update(database, "UPDATE job SET intent = ? WHERE id = ?", [intent?.rawValue ?? "", job.rawValue])
    case .result(let job, let sha256, let json):
      try update(database, "UPDATE job SET sha256 = ?, result = ? WHERE id = ?", [sha256, json, job.rawValue])
    case .worker(let worker):
      try database.execute(
        // Not INSERT OR REPLACE: members refer to the row.
        sql: """
          INSERT INTO worker VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          ON CONFLICT (id) DO UPDATE SET name = excluded.name, host = excluded.host, threads = excluded.threads,
            instructionSet = excluded.instructionSet, version = excluded.version,
            processIdentifier = excluded.processIdentifier, dataEndpoint = excluded.dataEndpoint,
            ipcEndpoint = excluded.ipcEndpoint
          """,
        arguments: [
          worker.id.rawValue, worker.incarnation, worker.name, worker.host, worker.threads, worker.instructionSet,
          worker.version, worker.processIdentifier, worker.dataEndpoint, worker.ipcEndpoint,
        ])
    case .generationBegan(let generation):
      try begin(generation, in: database)
    case .generationStarted(let job, let number):
      try update(
        database, "UPDATE generation SET started = 1 WHERE job = ? AND number = ?", [job.rawValue, number])
    case .generationEnded(let job, let number, let reason):
      try update(
        database, "UPDATE generation SET endReason = ? WHERE job = ? AND number = ?", [reason, job.rawValue, number])
    case .checkpoint(let checkpoint):
      try database.execute(
        sql: "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)",
        arguments: [
          checkpoint.job.rawValue, checkpoint.step, checkpoint.epoch, checkpoint.generation, checkpoint.name,
          checkpoint.isFinal,
        ])
    case .checkpointRemoved(let job, let step):
      try database.execute(
        sql: "DELETE FROM checkpoint WHERE job = ? AND step = ?", arguments: [job.rawValue, step])
    case .epoch(let epoch):
      try database.execute(
        sql: "INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?, ?, ?, ?)",
        arguments: [
          epoch.job.rawValue, epoch.epoch, epoch.step, epoch.generation, epoch.json, epoch.seconds,
          epoch.imagesPerSecond,
        ])
    }
  }

  private static func begin(_ generation: GenerationRecord, in database: Database) throws {
    let job = generation.job.rawValue
    try update(
      database, "UPDATE job SET generation = ? WHERE id = ? AND generation < ?",
      [generation.number, job, generation.number])
    try database.execute(
      sql: "INSERT INTO generation VALUES (?, ?, ?, ?)",
      arguments: [job, generation.number, generation.started, generation.endReason])
    for (rank, member) in generation.members.enumerated() {
      try database.execute(
        sql: "INSERT INTO member VALUES (?, ?, ?, ?, ?, ?)",
        arguments: [
          job, generation.number, rank, member.worker.rawValue, member.shards.lowerBound, member.shards.count,
        ])
    }
  }

  /// Runs an UPDATE that must find exactly one row; otherwise the decision speaks of something that is not there.
  private static func update(_ database: Database, _ sql: String, _ arguments: StatementArguments) throws {
    try database.execute(sql: sql, arguments: arguments)
    guard database.changesCount == 1 else {
      throw DatabaseError(message: "\(database.changesCount) rows instead of 1", sql: sql, arguments: arguments)
    }
  }
}
