// What clients may see of the state: copies, made for a list or a watcher.
package import RunStore

extension JobBoard {
  /// A job as clients see it.
  package struct JobView: Sendable, Hashable {
    package var record: JobRecord
    package var workerCount: Int
    package var committedStep: UInt64
    package var priority: Int
  }

  /// A worker as clients see it.
  package struct WorkerView: Sendable, Hashable {
    package var record: WorkerRecord
    package var state: String
    package var stamp: Stamp?
    package var shards: Range<Int>?
    package var sinceHeard: Duration
    package var residentBytes: UInt64
  }

  /// Every job that this coordinator has ever had, in order of submission.
  package var jobIDs: [JobID] { jobs.keys }

  /// Whether a job is to store a checkpoint and let go of its workers.
  package func isComingToRest(_ id: JobID) -> Bool { jobs[id]?.stopping != nil }

  /// The number that the next new job will have.
  package var nextJob: JobID { JobID(lastJob + 1) }

  /// Whether a job was submitted with this key.
  package func knows(key: String) -> Bool {
    !key.isEmpty && jobs.indices.contains { jobs[at: $0].record.idempotencyKey == key }
  }

  /// The books on one job; its reason leaves out what changes all the time.
  package func record(of id: JobID) -> JobRecord? { jobs[id]?.record }

  /// One job; its reason is the one of this moment.
  package func view(of id: JobID, at clock: Instant) -> JobView? {
    guard let job = jobs[id] else { return nil }
    var record = job.record
    record.reason = reason(of: id, at: clock)
    let workerCount =
      switch job.stage {
      case .generation(let membership): membership.members.count
      case .recovering(let recovery): recovery.record.members.count
      case .preparing, .waiting, .paused, .over: 0
      }
    return JobView(
      record: record, workerCount: workerCount, committedStep: job.committedStep, priority: job.settings.priority)
  }

  /// The worker behind a connection, nil for strangers.
  package func worker(on connection: ConnectionID) -> WorkerRecord? {
    connections[connection].flatMap { workers[$0]?.record }
  }

  /// Every worker that is known at this moment.
  package func workerViews(at clock: Instant) -> [WorkerView] {
    workers.values.map { worker in
      var view = WorkerView(
        record: worker.record, state: "idle", sinceHeard: local(clock) - worker.lastHeard,
        residentBytes: worker.pulse.residentBytes)
      switch worker.status {
      case .idle: if worker.isDraining { view.state = "draining" }
      case .standby(_, _, let isReady): view.state = isReady ? "standby" : "loading data"
      case .silent: view.state = "silent"
      case .absent: view.state = "not back yet"
      case .leaving: view.state = "leaving"
      case .assigned(let id):
        view.state = worker.isDraining ? "draining" : worker.pulse.phase
        guard let job = jobs[id] else { break }
        view.stamp = Stamp(job: id, generation: job.record.generation)
        if case .generation(let membership) = job.stage, let rank = membership.rank(of: worker.record.id) {
          view.shards = membership.members[rank].shards
        }
      }
      return view
    }
  }
}
