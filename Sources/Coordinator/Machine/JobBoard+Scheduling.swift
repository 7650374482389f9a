// Who works on what. Jobs are served in order of submission: the first job whose data set is ready gets every idle worker
// that it has room for, also while it still waits for more of them, so that a job that needs many is never starved.
import RunStore

extension JobBoard {
  /// Begins every generation that can begin, and ends those that newcomers are to join.
  mutating func schedule(at now: Instant) {
    var idle = workers.compactMap { id, worker -> Newcomer? in
      guard case .idle(let since) = worker.status, worker.connection != nil else { return nil }
      return Newcomer(worker: id, since: since)
    }.sorted { $0.worker < $1.worker }

    /// Sets aside as many idle workers as the job has room for.
    func take(_ room: Int) -> [Newcomer] {
      defer { idle.removeFirst(min(room, idle.count)) }
      return Array(idle.prefix(room))
    }

    for id in openJobs {
      // The usual case: a job that works, and nobody who could join it.
      if idle.isEmpty, case .generation = jobs[id]?.stage { continue }
      guard let job = jobs[id] else { continue }
      let capacity = job.settings.capacity
      switch job.stage {
      case .preparing, .over: continue
      case .recovering: _ = take(capacity)
      case .waiting(let interlude):
        let newcomers = take(max(0, capacity - interlude.survivors.count))
        changeInterlude(of: id) { $0.candidates = newcomers.map(\.worker) }
        if canBegin(job, interlude, newcomers, at: now) {
          begin(id, with: interlude.survivors + newcomers.map(\.worker), at: now)
        }
      case .generation(let membership):
        let newcomers = take(max(0, capacity - membership.members.count))
        // Who is away may be back in a moment, and without it the rest may be too few.
        let isWhole = membership.members.allSatisfy { workers[$0.worker]?.connection != nil }
        guard isWhole, membership.phase == .training, windowIsOver(job, newcomers, at: now) else { continue }
        let names = newcomers.map(\.worker.description).joined(separator: ", ")
        endGeneration(id, reason: "\(names) \(newcomers.count == 1 ? "joins" : "join")", counts: false, at: now)
        guard case .waiting(let interlude) = jobs[id]?.stage else { continue }
        begin(id, with: interlude.survivors + newcomers.map(\.worker), at: now)
      }
    }
  }

  private struct Newcomer {
    let worker: WorkerID
    let since: Instant
  }

  private func canBegin(_ job: Job, _ interlude: Job.Interlude, _ newcomers: [Newcomer], at now: Instant) -> Bool {
    let count = interlude.survivors.count + newcomers.count
    guard count >= job.settings.minimumWorkers, interlude.suspects.isEmpty, now >= interlude.notBefore ?? now else {
      return false
    }
    // Survivors wait for nobody, and who is there already comes along.
    return !interlude.survivors.isEmpty || count == job.settings.capacity || windowIsOver(job, newcomers, at: now)
  }

  /// Whether enough time has passed since the latest arrival, or so much since the first that nobody else is waited for.
  private func windowIsOver(_ job: Job, _ newcomers: [Newcomer], at now: Instant) -> Bool {
    guard let first = newcomers.map(\.since).min(), let latest = newcomers.map(\.since).max() else { return false }
    return now - latest >= job.settings.joinWindow || now - first >= job.settings.joinWindow * 5
  }
}
