// What the coordinator reads back: everything once at start, lists for clients later.
import GRDB

extension RunStore {
  /// What a coordinator that starts again has to know.
  public struct Snapshot: Sendable, Hashable {
    /// Every job, in order of submission.
    public var jobs: [JobRecord] = []
    /// The newest generation of each job that has had one and is not over.
    public var generations: [JobID: GenerationRecord] = [:]
    /// The workers that are members of those generations.
    public var workers: [WorkerRecord] = []
    /// The incarnations of everybody who was ever a member of each of those jobs.
    public var alumni: [JobID: Set<String>] = [:]
    /// The complete checkpoints of each job, by ascending step; a job that is over may be tried again from them.
    public var checkpoints: [JobID: [CheckpointRecord]] = [:]
    /// The highest worker number ever given, 0 for none.
    public var lastWorker: UInt64 = 0

    /// A store that nothing was written to.
    public init() {}
  }

  /// Reads everything that a starting coordinator needs, in one transaction.
  ///
  /// - Throws: `cannotRead`, or `inconsistent` naming the row.
  public func load() throws -> Snapshot {
    try reading { database in
      var snapshot = Snapshot()
      snapshot.jobs = try jobs(in: database)
      var members: Set<WorkerID> = []
      for job in snapshot.jobs {
        snapshot.checkpoints[job.id] = try checkpoints(of: job.id, in: database)
        guard !job.state.isOver else { continue }
        if let generation = try generation(job.generation, of: job.id, in: database) {
          snapshot.generations[job.id] = generation
          members.formUnion(generation.members.map(\.worker))
        }
        snapshot.alumni[job.id] = try alumni(of: job.id, in: database)
      }
      snapshot.workers = try members.sorted().map { try worker($0, in: database) }
      snapshot.lastWorker = try UInt64.fetchOne(database, sql: "SELECT MAX(id) FROM worker") ?? 0
      return snapshot
    }
  }

  /// One job, or nil if there is none with that number.
  ///
  /// - Throws: `cannotRead`, or `inconsistent` naming the row.
  public func job(_ id: JobID) throws -> JobRecord? {
    try reading { try jobs(in: $0, where: "WHERE id = ?", [id.rawValue]).first }
  }

  /// Every job, in order of submission.
  ///
  /// - Throws: `cannotRead`, or `inconsistent` naming the row.
  public func jobs() throws -> [JobRecord] { try reading { try jobs(in: $0) } }

  /// The complete checkpoints of a job, by ascending step.
  ///
  /// - Throws: `cannotRead`.
  public func checkpoints(of job: JobID) throws -> [CheckpointRecord] {
    try reading { try checkpoints(of: job, in: $0) }
  }

  /// The metrics of a job's epochs, in order.
  ///
  /// - Throws: `cannotRead`.
  public func epochs(of job: JobID) throws -> [EpochRecord] {
    try reading { database in
      try Row.fetchAll(database, sql: "SELECT * FROM epoch WHERE job = ? ORDER BY epoch", arguments: [job.rawValue])
        .map {
          EpochRecord(
            job: job, epoch: $0["epoch"], step: $0["step"], generation: $0["generation"], json: $0["json"],
            seconds: $0["seconds"], imagesPerSecond: $0["imagesPerSecond"])
        }
    }
  }

  /// The generations of a job with their members, in order: who computed what, and why it ended.
  ///
  /// - Throws: `cannotRead`.
  public func generations(of job: JobID) throws -> [GenerationRecord] {
    try reading { database in
      try UInt64.fetchAll(
        database, sql: "SELECT number FROM generation WHERE job = ? ORDER BY number", arguments: [job.rawValue]
      ).compactMap { try generation($0, of: job, in: database) }
    }
  }

  private func reading<Value>(_ body: (Database) throws -> Value) throws -> Value {
    do { return try queue.read(body) } catch let error as RunStoreError { throw error } catch {
      throw RunStoreError(
        .cannotRead, "the store cannot be read", hint: "check the disk; `sqlite3 FILE 'PRAGMA integrity_check'` tells",
        location: path, cause: error)
    }
  }

  private func jobs(
    in database: Database, where condition: String = "", _ arguments: StatementArguments = []
  ) throws -> [JobRecord] {
    try Row.fetchAll(database, sql: "SELECT * FROM job \(condition) ORDER BY id", arguments: arguments).map { row in
      let name: String = row["state"]
      guard let state = JobState(rawValue: name) else {
        throw RunStoreError(
          .inconsistent, "job \(row["id"] as UInt64) has the unknown state '\(name)'",
          hint: "start the version of Temper that wrote it", location: path)
      }
      var job = JobRecord(
        id: JobID(row["id"]), name: row["name"], spec: row["spec"], initialWeights: row["initialWeights"],
        idempotencyKey: row["idempotencyKey"] ?? "", submittedUnixSeconds: row["submittedUnixSeconds"])
      job.state = state
      job.reason = row["reason"]
      job.dataset = row["dataset"]
      job.generation = row["generation"]
      job.endedUnixSeconds = row["endedUnixSeconds"]
      job.sha256 = row["sha256"]
      job.result = row["result"]
      job.intent = JobIntent(rawValue: row["intent"])
      return job
    }
  }

  private func generation(_ number: UInt64, of job: JobID, in database: Database) throws -> GenerationRecord? {
    guard
      let row = try Row.fetchOne(
        database, sql: "SELECT * FROM generation WHERE job = ? AND number = ?", arguments: [job.rawValue, number])
    else { return nil }
    let members = try Row.fetchAll(
      database, sql: "SELECT * FROM member WHERE job = ? AND generation = ? ORDER BY rank",
      arguments: [job.rawValue, number]
    ).map { row in
      let first: Int = row["firstShard"]
      let count: Int = row["shardCount"]
      return MemberRecord(worker: WorkerID(row["worker"]), shards: first..<(first + count))
    }
    var generation = GenerationRecord(job: job, number: number, members: members)
    generation.started = row["started"]
    generation.endReason = row["endReason"]
    return generation
  }

  private func worker(_ id: WorkerID, in database: Database) throws -> WorkerRecord {
    guard
      let row = try Row.fetchOne(database, sql: "SELECT * FROM worker WHERE id = ?", arguments: [id.rawValue])
    else {
      throw RunStoreError(
        .inconsistent, "a generation has the member \(id), whom no row describes",
        hint: "restore the directory from a backup", location: path)
    }
    return WorkerRecord(
      id: id, incarnation: row["incarnation"], name: row["name"], host: row["host"], threads: row["threads"],
      instructionSet: row["instructionSet"], version: row["version"], processIdentifier: row["processIdentifier"],
      dataEndpoint: row["dataEndpoint"], ipcEndpoint: row["ipcEndpoint"])
  }

  private func alumni(of job: JobID, in database: Database) throws -> Set<String> {
    try String.fetchSet(
      database,
      sql: "SELECT incarnation FROM member JOIN worker ON worker.id = member.worker WHERE member.job = ?",
      arguments: [job.rawValue])
  }

  private func checkpoints(of job: JobID, in database: Database) throws -> [CheckpointRecord] {
    try Row.fetchAll(database, sql: "SELECT * FROM checkpoint WHERE job = ? ORDER BY step", arguments: [job.rawValue])
      .map {
        CheckpointRecord(
          job: job, step: $0["step"], epoch: $0["epoch"], generation: $0["generation"], name: $0["name"],
          isFinal: $0["isFinal"])
      }
  }
}
