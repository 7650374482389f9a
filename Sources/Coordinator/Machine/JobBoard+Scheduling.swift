// Who works on what. FairShare says how many workers each job should have; here they are moved: idle ones are taken in, newcomers of
// a running job stand by until they have its data, and a job with more than its share gives workers back at an announced
// end. Jobs are served by descending priority, then in order of submission.
import RunStore

extension JobBoard {
  /// Begins every generation that can begin, and announces the end of those that are to change.
  mutating func schedule(at now: Instant) {
    let ready = openJobs.filter { jobs[$0]?.isReadyForWorkers == true }
    guard let first = ready.first, ready.count > 1 || !isUndisturbed(first, at: now) else { return }
    let claimants = ready.compactMap { jobs[$0] }.sorted {
      ($1.settings.priority, $0.record.id) < ($0.settings.priority, $1.record.id)
    }
    var idle = workers.compactMap { id, worker -> WorkerID? in
      guard case .idle = worker.status, worker.connection != nil, !worker.isDraining else { return nil }
      return id
    }.sorted()
    let shares = FairShare.shares(idle: idle.count, among: claimants.map(claim(of:)))
    for (job, share) in zip(claimants, shares) { serve(job.record.id, share, &idle, at: now) }
  }

  /// The usual case: a job that works, nobody who could join it, and no time to look at its shards.
  private func isUndisturbed(_ id: JobID, at now: Instant) -> Bool {
    guard case .generation = jobs[id]?.stage, jobs[id]?.stopping == nil, jobs[id]?.replanning.isDue(at: now) == false
    else { return false }
    return !workers.values.contains { worker in
      switch worker.status {
      case .idle, .standby: true
      case .assigned, .silent, .absent, .leaving: false
      }
    }
  }

  private func claim(of job: Job) -> FairShare.Claim {
    let held =
      switch job.stage {
      case .waiting(let interlude): interlude.survivors.count
      case .recovering(let recovery): recovery.record.members.count
      case .generation(let membership): membership.members.count
      case .preparing, .paused, .over: 0
      }
    return FairShare.Claim(
      priority: job.settings.priority, minimum: job.settings.minimumWorkers, capacity: job.settings.capacity,
      held: held + standbys(of: job.record.id).count)
  }

  private mutating func serve(_ id: JobID, _ share: Int, _ idle: inout [WorkerID], at now: Instant) {
    guard let job = jobs[id] else { return }
    func take(_ room: Int) -> [WorkerID] {
      let taken = Array(idle.prefix(max(0, room)))
      idle.removeFirst(taken.count)
      return taken
    }
    let standbys = standbys(of: id)
    switch job.stage {
    case .preparing, .paused, .over: return
    case .recovering(let recovery): _ = take(share - recovery.record.members.count - standbys.count)
    case .waiting(let interlude):
      let survivors = interlude.survivors.count
      if job.stopping == nil, share < survivors, survivors < job.settings.minimumWorkers {
        // Too few to go on, and wanted elsewhere: two jobs that hold on to what they have would wait for ever.
        jobs[id]?.stopping = Job.Stopping(aim: .yield, deadline: now + limits.saving)
      }
      let isStopping = jobs[id]?.stopping != nil
      let newcomers = isStopping ? [] : take(share - survivors - standbys.count)
      // Enough survivors wait for nobody's data.
      let goesOn = survivors >= job.settings.minimumWorkers || isStopping
      if goesOn { for worker in newcomers { standBy(worker, for: id) } }
      let joining = goesOn ? standbys.filter(\.isReady).map(\.worker) : standbys.map(\.worker) + newcomers
      changeInterlude(of: id) { $0.candidates = joining }
      if let job = jobs[id], canBegin(job, interlude, joining, at: now) {
        begin(id, with: interlude.survivors + joining, at: now)
      }
    case .generation(let membership):
      for worker in take(share - membership.members.count - standbys.count) { standBy(worker, for: id) }
      let surplus = membership.members.count + standbys.count - share
      for standby in standbys.suffix(max(0, min(surplus, standbys.count))) {
        standDown(standby.worker, reason: "other jobs need it more")
      }
      // Who is away may be back in a moment, and without it the rest may be too few.
      let isWhole = membership.members.allSatisfy { workers[$0.worker]?.connection != nil }
      guard isWhole, membership.phase == .training, membership.boundary == nil else { return }
      if job.stopping != nil { return orderStop(of: id) }
      change(job, membership, share, at: now)
    }
  }

  /// Announces the end of a training generation when newcomers are ready, workers have to go, or shards should move.
  private mutating func change(_ job: Job, _ membership: Membership, _ share: Int, at now: Instant) {
    let id = job.record.id
    let count = membership.members.count
    let hasSettled = now - membership.phaseSince >= limits.settling
    let standbys = standbys(of: id)
    let ready = standbys.filter(\.isReady).map(\.worker.description)
    if share < count {
      guard hasSettled else { return }
      if share >= job.settings.minimumWorkers {
        announceEnd(of: id, cause: "\(count - share) of \(count) workers go to other jobs", keep: share)
      } else {
        jobs[id]?.stopping = Job.Stopping(aim: .yield, deadline: now + limits.saving)
        orderStop(of: id)
      }
    } else if !ready.isEmpty, windowIsOver(job, standbys.map(\.worker), at: now) {
      announceEnd(of: id, cause: "\(ready.joined(separator: ", ")) \(ready.count == 1 ? "joins" : "join")")
    } else if hasSettled, let cause = reasonToReplan(id, membership, at: now) {
      announceEnd(of: id, cause: cause)
    }
  }

  /// Why other shard ranges would be worth a new generation, nil when they would not.
  private mutating func reasonToReplan(_ id: JobID, _ membership: Membership, at now: Instant) -> String? {
    let members = membership.members
    guard jobs[id]?.replanning.looks(at: now) == true, members.count > 1, let job = jobs[id] else { return nil }
    let times = members.compactMap { job.shardTimes[$0.worker] }
    guard times.count == members.count else { return nil }
    let planned = ShardPlanner.ranges(
      shardCount: job.settings.shardCount, speeds: ShardPlanner.speeds(of: times))
    func step(_ ranges: [Range<Int>]) -> Duration { zip(ranges, times).map { $1 * $0.count }.max() ?? .zero }
    let current = step(members.map(\.shards))
    let best = step(planned)
    guard jobs[id]?.replanning.moves(from: current, to: best, at: now) == true else { return nil }
    let ratio = ((1 - best / current) * 100).rounded()
    return "shards follow the measured speeds, for steps \(Int(ratio)) % shorter"
  }

  private func canBegin(_ job: Job, _ interlude: Job.Interlude, _ newcomers: [WorkerID], at now: Instant) -> Bool {
    let count = interlude.survivors.count + newcomers.count
    // Survivors that are to store a checkpoint need not be enough to train.
    let isEnough = count >= job.settings.minimumWorkers || (job.stopping != nil && !interlude.survivors.isEmpty)
    guard isEnough, interlude.suspects.isEmpty, now >= interlude.notBefore ?? now else {
      return false
    }
    // Survivors wait for nobody, and who is there already comes along.
    return !interlude.survivors.isEmpty || count == job.settings.capacity || windowIsOver(job, newcomers, at: now)
  }

  /// Whether enough time has passed since the latest arrival, or so much since the first that nobody else is waited for.
  private func windowIsOver(_ job: Job, _ newcomers: [WorkerID], at now: Instant) -> Bool {
    let arrivals = newcomers.compactMap { worker -> Instant? in
      switch workers[worker]?.status {
      case .idle(let since), .standby(_, let since, _): since
      default: nil
      }
    }
    guard let first = arrivals.min(), let latest = arrivals.max() else { return false }
    return now - latest >= job.settings.joinWindow || now - first >= job.settings.joinWindow * 5
  }
}
