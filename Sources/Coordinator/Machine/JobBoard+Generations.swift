// One generation: begin, agree on a step, start, watch, end.
import RunStore

extension JobBoard {
  mutating func begin(_ id: JobID, with chosen: [WorkerID], at now: Instant) {
    guard var job = jobs[id] else { return }
    let ranges = ShardPlanner.ranges(
      shardCount: job.settings.shardCount, speeds: ShardPlanner.speeds(of: chosen.map { job.shardTimes[$0] }))
    job.shardTimes = job.shardTimes.filter { chosen.contains($0.key) }
    if Set(chosen) != job.lastMembers { job.replanning.reset() }
    job.lastMembers = Set(chosen)
    let record = GenerationRecord(
      job: id, number: job.record.generation + 1,
      members: zip(chosen, ranges).map { MemberRecord(worker: $0, shards: $1) })
    job.record.generation = record.number
    job.stage = .generation(Membership(record, announced: job.newestCheckpoint, at: now))
    job.clock.pause()
    job.alumni.formUnion(chosen.compactMap { workers[$0]?.record.incarnation })
    jobs[id] = job
    persist(.generationBegan(record))
    let plan = zip(chosen, ranges).map { "\($0) shards \($1.lowerBound)..<\($1.upperBound)" }
    log(id, .info, "generation \(record.number): \(plan.joined(separator: ", "))")
    let members = zip(chosen, ranges).compactMap { worker, shards in
      workers[worker].map { Briefing.Member(worker: $0.record, shards: shards) }
    }
    for (rank, worker) in chosen.enumerated() {
      workers[worker]?.status = .assigned(id)
      send(
        .begin(
          Briefing(
            stamp: Stamp(job: id, generation: record.number), rank: rank, members: members, spec: job.record.spec,
            dataset: job.record.dataset, initialWeights: job.record.initialWeights, checkpoint: job.newestCheckpoint)),
        to: worker)
    }
  }

  mutating func position(_ connection: ConnectionID, _ stamp: Stamp, _ answer: Membership.Position, at now: Instant) {
    guard let (_, rank, current) = member(connection, stamp, at: now) else { return }
    var membership = current
    let complete = membership.answered(rank, answer)
    jobs[stamp.job]?.stage = .generation(membership)
    guard complete, let job = jobs[stamp.job] else { return }
    let decision = membership.newestState(checkpoint: job.newestCheckpoint)
    if asksDesk(before: decision, in: stamp, job) {
      changeGeneration(of: stamp.job) { $0.enter(.checking, at: now) }
      emit(.verifyCheckpoints(stamp.job))
    } else {
      synchronize(stamp.job, step: decision.step, decision.origin, at: now)
    }
  }

  /// Whether a generation must not start before the desk, whose queue is in order, has told what stands on disk.
  ///
  /// A checkpoint is on disk some 20 ms before this machine knows of it. Members of the generation that made it are at most one
  /// step behind it; where none of them is left, it may be newer than all that the machine knows.
  private func asksDesk(before decision: (step: UInt64, origin: StateOrigin), in stamp: Stamp, _ job: Job) -> Bool {
    switch decision.origin {
    case .checkpoint: true
    case .initialize: stamp.generation > 1
    case .peer: decision.step + 1 < job.committedStep
    }
  }

  mutating func checkpointsVerified(
    _ id: JobID, newest: CheckpointRecord?, damaged: [DamagedCheckpoint], at now: Instant
  ) {
    guard jobs[id] != nil else { return }
    for checkpoint in damaged where jobs[id]?.knownDamage.insert(checkpoint.step).inserted == true {
      log(id, .error, "the checkpoint of step \(checkpoint.step) is damaged and not used: \(checkpoint.problem)")
    }
    // What the disk holds is what counts: forget what is newer than the newest good one, know that one.
    for checkpoint in jobs[id]?.checkpoints ?? [] where checkpoint.step > newest?.step ?? 0 || newest == nil {
      persist(.checkpointRemoved(id, step: checkpoint.step))
    }
    jobs[id]?.checkpoints.removeAll { $0.step >= newest?.step ?? 0 }
    if let newest {
      jobs[id]?.checkpoints.append(newest)
      persist(.checkpoint(newest))
    }
    guard case .generation(let membership) = stage(of: id), membership.phase == .checking else { return }
    guard newest?.name == membership.announced?.name else {
      // Members are told of their checkpoint at the begin, so it takes another generation.
      return endGeneration(id, reason: surprise(membership.announced, newest), counts: false, at: now)
    }
    let decision = membership.newestState(checkpoint: newest)
    synchronize(id, step: decision.step, decision.origin, at: now)
  }

  /// What the disk holds instead of the checkpoint that the members were told of.
  private func surprise(_ announced: CheckpointRecord?, _ newest: CheckpointRecord?) -> String {
    guard let newest else { return "checkpoint damaged; there is none before it" }
    guard let announced, newest.step <= announced.step else {
      return "the checkpoint of step \(newest.step) was stored meanwhile"
    }
    return "checkpoint damaged; using the one of step \(newest.step)"
  }

  private mutating func synchronize(_ id: JobID, step: UInt64, _ origin: StateOrigin, at now: Instant) {
    guard case .generation(var membership) = stage(of: id) else { return }
    membership.enter(.synchronizing(step: step), at: now)
    jobs[id]?.stage = .generation(membership)
    jobs[id]?.committedStep = step
    for member in membership.members { send(.sync(membership.stamp, step: step, origin), to: member.worker) }
  }

  mutating func ready(_ connection: ConnectionID, _ stamp: Stamp, step: UInt64, at now: Instant) {
    if case .recovering(let recovery) = stage(of: stamp.job), recovery.record.number == stamp.generation {
      guard let worker = heard(connection, at: now), recovery.returned[worker] != nil else { return }
      return send(.start(stamp), to: worker)
    }
    guard let (worker, rank, current) = member(connection, stamp, at: now) else { return }
    // The others were told to start; to this one the order was lost, with its connection or with the coordinator.
    if current.phase == .training { return send(.start(stamp), to: worker) }
    var membership = current
    let complete = membership.ready(rank, step: step)
    if complete {
      membership.enter(.training, at: now)
      persist(.generationStarted(stamp.job, stamp.generation))
      for member in membership.members { send(.start(stamp), to: member.worker) }
      var pause = ""
      if let heldUp = jobs[stamp.job]?.heldUp {
        let milliseconds = ((now - heldUp.since) / .milliseconds(1)).rounded()
        pause = ", \(Int(milliseconds)) ms after the last step of generation \(heldUp.generation)"
      }
      jobs[stamp.job]?.heldUp = nil
      log(stamp.job, .info, "generation \(stamp.generation): starts at step \(step)\(pause)")
    }
    jobs[stamp.job]?.stage = .generation(membership)
  }

  mutating func stepped(_ connection: ConnectionID, _ stamp: Stamp, step: UInt64, at now: Instant) {
    guard let (_, rank, membership) = member(connection, stamp, at: now) else { return }
    progress(of: rank, stamp, step: step, activity: membership.members[rank].activity, at: now)
    emit(.changed(stamp.job))
  }

  /// Takes in how far a member of the current generation is.
  mutating func progress(of rank: Int, _ stamp: Stamp, step: UInt64, activity: String, at now: Instant) {
    guard let row = jobs.index(of: stamp.job) else { return }
    var isNew = false
    changeGeneration(of: stamp.job) { isNew = $0.note(rank, step: step, activity: activity, at: now) }
    guard isNew else { return }
    jobs[at: row].committedStep = step
    jobs[at: row].clock.note(step: step, at: now)
    jobs[at: row].budget.refill()
    if !jobs[at: row].accusations.isEmpty { jobs[at: row].accusations = [:] }
  }

  mutating func peerLost(
    _ connection: ConnectionID, _ stamp: Stamp, accused rank: Int, evidence: String, at now: Instant
  ) {
    if case .recovering(let recovery) = stage(of: stamp.job), recovery.record.number == stamp.generation {
      // Whoever was lost is not back, or says for itself that it is alive.
      guard let accuser = heard(connection, at: now), recovery.returned[accuser] != nil else { return }
      endRecovery(of: stamp.job, reason: "\(accuser) lost its link to rank \(rank): \(evidence)")
      return
    }
    guard let (accuser, _, membership) = member(connection, stamp, at: now) else { return }
    guard membership.members.indices.contains(rank) else {
      staleCount += 1
      return
    }
    let accused = membership.members[rank].worker
    let report = "\(accuser) lost its link to \(accused): \(evidence)"
    endGeneration(stamp.job, reason: report, counts: true, at: now)
    guard accused != accuser, case .waiting = stage(of: stamp.job) else { return }
    if accuse(accused, in: stamp.job) > 1 {
      // Alive, yet lost twice without a step in between: its training thread or its links are beyond repair.
      evict(accused, evidence: "\(report), for the second time", at: now)
      return
    }
    changeInterlude(of: stamp.job) { [limits] in
      $0.suspects[accused] = (deadline: now + limits.accused, evidence: report)
    }
  }

  /// Ends the current generation and tells its members, who keep their state and wait for the next.
  ///
  /// - Parameters:
  ///   - counts: whether the job pays for the restart. It does for what may be its own fault or may repeat
  ///     itself, not for workers that come and go as they please.
  ///   - keep: members that stay, from rank 0; the others drop their state and are free for other jobs.
  mutating func endGeneration(_ id: JobID, reason: String, counts: Bool, keep: Int = .max, at now: Instant) {
    guard case .generation(let membership) = stage(of: id), var job = jobs[id] else { return }
    let present = membership.members.map(\.worker).filter { status(of: $0) == .assigned(id) }
    let survivors = Array(present.prefix(keep))
    for worker in present.dropFirst(keep) {
      workers[worker]?.status = .idle(since: now)
      send(.end(membership.stamp, reason: reason, jobOver: true), to: worker)
    }
    persist(.generationEnded(id, membership.stamp.generation, reason: reason))
    log(id, counts ? .warning : .info, "generation \(membership.stamp.generation) ends: \(reason)")
    for worker in survivors { send(.end(membership.stamp, reason: reason, jobOver: false), to: worker) }
    let delay = counts ? job.budget.pay() : .zero
    job.heldUp = job.heldUp ?? (now, membership.stamp.generation)
    job.stage = .waiting(
      Job.Interlude(survivors: survivors, notBefore: delay.map { now + $0 }, cause: reason))
    jobs[id] = job
    if delay == nil {
      conclude(
        id, .failed,
        reason: "\(RestartBudget.delays.count) restarts without a committed step; the last generation ended because "
          + "\(reason); look at the workers' logs, then submit the job again", at: now)
    }
  }

  /// Takes a worker out of its job, whatever the job is doing.
  mutating func withdraw(_ worker: WorkerID, reason: String, counts: Bool, at now: Instant) {
    for id in openJobs {
      switch stage(of: id) {
      case .generation(let membership) where membership.rank(of: worker) != nil:
        if status(of: worker) == .assigned(id) { workers[worker]?.status = .idle(since: now) }
        endGeneration(id, reason: reason, counts: counts, at: now)
      case .waiting:
        changeInterlude(of: id) {
          $0.survivors.removeAll { $0 == worker }
          $0.suspects[worker] = nil
          $0.candidates.removeAll { $0 == worker }
        }
      case .recovering(var recovery) where recovery.returned[worker] != nil:
        recovery.returned[worker] = nil
        jobs[id]?.stage = .recovering(recovery)
      default: break
      }
    }
  }

  /// Counts that a member, though alive, was lost by a peer or did not answer; returns how often since the last step.
  private mutating func accuse(_ worker: WorkerID, in id: JobID) -> Int {
    jobs[id]?.accusations[worker, default: 0] += 1
    return jobs[id]?.accusations[worker] ?? 0
  }

  /// A suspect was heard.
  mutating func absolve(_ worker: WorkerID) {
    guard case .assigned(let id) = status(of: worker) else { return }
    changeInterlude(of: id) { $0.suspects[worker] = nil }
  }

  mutating func watchSuspects(of id: JobID, at now: Instant) {
    guard case .waiting(let interlude) = stage(of: id) else { return }
    for (worker, suspicion) in interlude.suspects.sorted(by: { $0.key < $1.key }) where now >= suspicion.deadline {
      lose(worker, evidence: "\(suspicion.evidence), and silent for \(limits.accused.spoken) since", at: now)
    }
  }

  mutating func watchProgress(of id: JobID, at now: Instant) {
    guard case .generation(let membership) = stage(of: id), let job = jobs[id],
      let stalled = membership.stalled(hang: job.patience, at: now)
    else { return }
    switch membership.phase {
    case .gathering, .synchronizing:
      // Members may wait for each other's links, so silence counts against one of several only the second time.
      let missing = membership.waitingFor
      let names = missing.map(\.description).joined(separator: ", ")
      let silence = "no answer to \(membership.stamp) for \(stalled.spoken)"
      let hanging = missing.filter { accuse($0, in: id) > 1 || missing.count == 1 }
      endGeneration(id, reason: "\(silence) from \(names)", counts: true, at: now)
      for worker in hanging { evict(worker, evidence: silence, at: now) }
    case .checking, .training:
      // All members stand still when one hangs. Who it is shows when the next generation asks for their positions.
      endGeneration(
        id, reason: "no progress at step \(membership.committedStep) for \(stalled.spoken)", counts: true,
        at: now)
    }
  }

  /// The member behind a message, nil (and counted) when the message is not of its current generation.
  mutating func member(
    _ connection: ConnectionID, _ stamp: Stamp, at now: Instant
  ) -> (worker: WorkerID, rank: Int, membership: Membership)? {
    guard let worker = heard(connection, at: now) else { return nil }
    guard case .generation(let membership) = stage(of: stamp.job), membership.stamp == stamp,
      let rank = membership.rank(of: worker)
    else {
      staleCount += 1
      return nil
    }
    return (worker, rank, membership)
  }

  mutating func changeGeneration(of id: JobID, _ body: (inout Membership) -> Void) {
    guard let row = jobs.index(of: id), case .generation(var membership) = jobs[at: row].stage else { return }
    // Held once only, so that its members are changed where they are.
    jobs[at: row].stage = .over
    body(&membership)
    jobs[at: row].stage = .generation(membership)
  }

  mutating func changeInterlude(of id: JobID, _ body: (inout Job.Interlude) -> Void) {
    guard let row = jobs.index(of: id), case .waiting(var interlude) = jobs[at: row].stage else { return }
    body(&interlude)
    jobs[at: row].stage = .waiting(interlude)
  }
}
