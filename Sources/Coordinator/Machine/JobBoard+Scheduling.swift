// Who works on what. FairShare says how many workers each job should have; here they are moved: idle ones are taken in, newcomers of
// a running job stand by until they have its data, and a job with more than its share gives workers back at an announced
// end. Jobs are served by descending priority, then in order of submission.
import RunStore

extension JobBoard {
  /// Begins every generation that can begin, and announces the end of those that are to change.
  mutating func schedule(at now: Instant) {
    let ready = openJobs.compactMap(jobs.index(of:)).filter { jobs[at: $0].stage.isReadyForWorkers }
    guard let first = ready.first, ready.count > 1 || !isUndisturbed(first, at: now) else { return }
    let claimants = ready.sorted {
      (jobs[at: $1].settings.priority, $0) < (jobs[at: $0].settings.priority, $1)
    }
    var idle: [WorkerID] = []
    for row in workers.indices {
      guard case .idle = workers[at: row].status, workers[at: row].connection != nil, !workers[at: row].isDraining
      else {
        continue
      }
      idle.append(workers.keys[row])
    }
    let shares = FairShare.shares(idle: idle.count, among: claimants.map(claim(ofRow:)))
    for (row, share) in zip(claimants, shares) { serve(row, share, &idle, at: now) }
  }

  /// The usual case: a job that works, nobody who could join it, and no time to look at its shards.
  private func isUndisturbed(_ row: Int, at now: Instant) -> Bool {
    guard case .generation = jobs[at: row].stage, jobs[at: row].stopping == nil,
      !jobs[at: row].replanning.isDue(at: now)
    else { return false }
    return !workers.indices.contains {
      switch workers[at: $0].status {
      case .idle, .standby: true
      case .assigned, .silent, .absent, .leaving: false
      }
    }
  }

  private func claim(ofRow row: Int) -> FairShare.Claim {
    let held =
      switch jobs[at: row].stage {
      case .waiting(let interlude): interlude.survivors.count
      case .recovering(let recovery): recovery.record.members.count
      case .generation(let membership): membership.members.count
      case .preparing, .paused, .over: 0
      }
    let settings = jobs[at: row].settings
    return FairShare.Claim(
      priority: settings.priority, minimum: settings.minimumWorkers, capacity: settings.capacity,
      held: held + standbys(of: jobs.keys[row]).count)
  }

  private mutating func serve(_ row: Int, _ share: Int, _ idle: inout [WorkerID], at now: Instant) {
    let id = jobs.keys[row]
    func take(_ room: Int) -> [WorkerID] {
      guard room > 0, !idle.isEmpty else { return [] }
      let taken = Array(idle.prefix(room))
      idle.removeFirst(taken.count)
      return taken
    }
    let standbys = standbys(of: id)
    switch jobs[at: row].stage {
    case .preparing, .paused, .over: return
    case .recovering(let recovery): _ = take(share - recovery.record.members.count - standbys.count)
    case .waiting(let interlude):
      let survivors = interlude.survivors.count
      let minimum = jobs[at: row].settings.minimumWorkers
      if jobs[at: row].stopping == nil, share < survivors, survivors < minimum {
        // Too few to go on, and wanted elsewhere: two jobs that hold on to what they have would wait for ever.
        jobs[at: row].stopping = Job.Stopping(aim: .yield, deadline: now + limits.saving)
      }
      let isStopping = jobs[at: row].stopping != nil
      let newcomers = isStopping ? [] : take(share - survivors - standbys.count)
      // Enough survivors wait for nobody's data.
      let goesOn = survivors >= minimum || isStopping
      if goesOn { for worker in newcomers { standBy(worker, for: id) } }
      let joining = goesOn ? standbys.filter(\.isReady).map(\.worker) : standbys.map(\.worker) + newcomers
      if interlude.candidates != joining { changeInterlude(of: id) { $0.candidates = joining } }
      if canBegin(row, interlude, joining, at: now) { begin(id, with: interlude.survivors + joining, at: now) }
    case .generation(let membership):
      for worker in take(share - membership.members.count - standbys.count) { standBy(worker, for: id) }
      let surplus = membership.members.count + standbys.count - share
      for standby in standbys.suffix(max(0, min(surplus, standbys.count))) {
        standDown(standby.worker, reason: "other jobs need it more")
      }
      // Who is away may be back in a moment, and without it the rest may be too few.
      guard membership.phase == .training, membership.boundary == nil,
        membership.members.allSatisfy({ isConnected($0.worker) })
      else { return }
      if jobs[at: row].stopping != nil { return orderStop(of: id) }
      change(row, membership, share, at: now)
    }
  }

  private func isConnected(_ id: WorkerID) -> Bool {
    workers.index(of: id).map { workers[at: $0].connection != nil } ?? false
  }

  /// Announces the end of a training generation when newcomers are ready, workers have to go, or shards should move.
  private mutating func change(_ row: Int, _ membership: Membership, _ share: Int, at now: Instant) {
    let id = jobs.keys[row]
    let count = membership.members.count
    let hasSettled = now - membership.phaseSince >= limits.settling
    let standbys = standbys(of: id)
    let ready = standbys.filter(\.isReady).map(\.worker.description)
    if share < count {
      guard hasSettled else { return }
      if share >= jobs[at: row].settings.minimumWorkers {
        announceEnd(of: id, cause: "\(count - share) of \(count) workers go to other jobs", keep: share)
      } else {
        jobs[at: row].stopping = Job.Stopping(aim: .yield, deadline: now + limits.saving)
        orderStop(of: id)
      }
    } else if !ready.isEmpty, windowIsOver(row, standbys.map(\.worker), at: now) {
      announceEnd(of: id, cause: "\(ready.joined(separator: ", ")) \(ready.count == 1 ? "joins" : "join")")
    } else if hasSettled, let cause = reasonToReplan(row, membership, at: now) {
      announceEnd(of: id, cause: cause)
    }
  }

  /// Why other shard ranges would be worth a new generation, nil when they would not.
  private mutating func reasonToReplan(_ row: Int, _ membership: Membership, at now: Instant) -> String? {
    let members = membership.members
    guard jobs[at: row].replanning.looks(at: now), members.count > 1 else { return nil }
    let times = members.compactMap { jobs[at: row].shardTimes[$0.worker] }
    guard times.count == members.count else { return nil }
    func step(_ ranges: [Range<Int>]) -> Duration { zip(ranges, times).map { $1 * $0.count }.max() ?? .zero }
    let current = step(members.map(\.shards))
    let shardCount = jobs[at: row].settings.shardCount
    // No plan is better than shards that could be cut at will; where that gains too little, as it does nearly always, none is made.
    var best = ShardPlanner.shortestStep(shardCount: shardCount, times: times)
    if ReplanPolicy.isGain(from: current, to: best) {
      best = step(ShardPlanner.ranges(shardCount: shardCount, speeds: ShardPlanner.speeds(of: times)))
    }
    guard jobs[at: row].replanning.moves(from: current, to: best, at: now) else { return nil }
    let ratio = ((1 - best / current) * 100).rounded()
    return "shards follow the measured speeds, for steps \(Int(ratio)) % shorter"
  }

  private func canBegin(_ row: Int, _ interlude: Job.Interlude, _ newcomers: [WorkerID], at now: Instant) -> Bool {
    let count = interlude.survivors.count + newcomers.count
    let settings = jobs[at: row].settings
    // Survivors that are to store a checkpoint need not be enough to train.
    let isEnough = count >= settings.minimumWorkers || (jobs[at: row].stopping != nil && !interlude.survivors.isEmpty)
    guard isEnough, interlude.suspects.isEmpty, now >= interlude.notBefore ?? now else {
      return false
    }
    // Survivors wait for nobody, and who is there already comes along.
    return !interlude.survivors.isEmpty || count == settings.capacity || windowIsOver(row, newcomers, at: now)
  }

  /// Whether enough time has passed since the latest arrival, or so much since the first that nobody else is waited for.
  private func windowIsOver(_ row: Int, _ newcomers: [WorkerID], at now: Instant) -> Bool {
    let arrivals = newcomers.compactMap { worker -> Instant? in
      switch status(of: worker) {
      case .idle(let since), .standby(_, let since, _): since
      default: nil
      }
    }
    guard let first = arrivals.min(), let latest = arrivals.max() else { return false }
    let window = jobs[at: row].settings.joinWindow
    return now - latest >= window || now - first >= window * 5
  }
}
