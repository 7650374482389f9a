// A job from submission to its end.
import RunStore

extension JobBoard {
  mutating func submit(
    _ request: RequestID, _ submitted: JobRecord, _ settings: JobSettings, _ checkpoint: CheckpointRecord?
  ) {
    let key = submitted.idempotencyKey
    if !key.isEmpty, let known = jobs.indices.first(where: { jobs[at: $0].record.idempotencyKey == key }) {
      emit(.answer(request, .submitted(jobs.keys[known], existed: true)))
      return
    }
    lastJob += 1
    var record = submitted
    record.id = JobID(lastJob)
    persist(.submitted(record))
    jobs[record.id] = Job(record: record, settings: settings, stage: .preparing("waits for its data set"))
    openJobs.append(record.id)
    log(record.id, .info, "submitted as '\(record.name)'")
    if var checkpoint {
      checkpoint.job = record.id
      checkpointStored(checkpoint, pruned: [])
      jobs[record.id]?.committedStep = checkpoint.step
    }
    emit(.prepareDataset(record.id))
    emit(.answer(request, .submitted(record.id, existed: false)))
  }

  mutating func datasetProgress(_ id: JobID, _ text: String) {
    if case .preparing = stage(of: id) { jobs[id]?.stage = .preparing(text) }
  }

  mutating func datasetReady(_ id: JobID, _ name: String) {
    guard case .preparing = stage(of: id) else { return }
    jobs[id]?.record.dataset = name
    jobs[id]?.stage = .waiting(Job.Interlude())
    persist(.dataset(id, name))
  }

  mutating func datasetFailed(_ id: JobID, _ message: String, at now: Instant) {
    guard case .preparing = stage(of: id) else { return }
    conclude(id, .failed, reason: "its data set cannot be made: \(message)", at: now)
  }

  mutating func epoch(_ connection: ConnectionID, _ stamp: Stamp, _ record: EpochRecord, at now: Instant) {
    guard speaker(connection, stamp, at: now) != nil else { return }
    persist(.epoch(record))
    emit(.changed(stamp.job))
  }

  mutating func finished(
    _ connection: ConnectionID, _ stamp: Stamp, step: UInt64, sha256: String, json: String, at now: Instant
  ) {
    guard speaker(connection, stamp, at: now) == 0 else { return }
    persist(.result(stamp.job, sha256: sha256, json: json))
    jobs[stamp.job]?.record.sha256 = sha256
    jobs[stamp.job]?.record.result = json
    jobs[stamp.job]?.committedStep = step
    conclude(stamp.job, .finished, reason: "finished at step \(step)", at: now)
  }

  mutating func failed(
    _ connection: ConnectionID, _ stamp: Stamp, message: String, hint: String, at now: Instant
  ) {
    guard let rank = speaker(connection, stamp, at: now) else { return }
    let advice = hint.isEmpty ? "" : " (\(hint))"
    conclude(stamp.job, .failed, reason: "rank \(rank): \(message)\(advice)", at: now)
  }

  mutating func checkpointStored(_ record: CheckpointRecord, pruned: [UInt64]) {
    guard var job = jobs[record.job] else { return }
    persist(.checkpoint(record))
    for step in pruned { persist(.checkpointRemoved(record.job, step: step)) }
    job.checkpoints.removeAll { pruned.contains($0.step) || $0.step == record.step }
    job.checkpoints.append(record)
    job.checkpoints.sort { $0.step < $1.step }
    job.knownDamage.remove(record.step)
    jobs[record.job] = job
    log(record.job, .info, "checkpoint \(record.name) of step \(record.step) stored")
    emit(.changed(record.job))
  }

  /// Whether a checkpoint that a worker sends may become the job's: only the current generation may write.
  package func refusalOfCheckpoint(_ stamp: Stamp) -> String? {
    guard let job = jobs[stamp.job] else { return "there is no \(stamp.job)" }
    if job.record.state.isOver { return "\(stamp.job) is \(job.record.state.rawValue)" }
    guard stamp.generation == job.record.generation else {
      return "generation \(stamp.generation) is over; the current one is \(job.record.generation)"
    }
    return nil
  }

  /// Ends a job for good and sets its workers free.
  mutating func conclude(_ id: JobID, _ state: JobState, reason: String, at now: Instant) {
    guard jobs[id] != nil else { return }
    dissolve(id, reason: reason, at: now)
    jobs[id]?.stage = .over
    openJobs.removeAll { $0 == id }
    jobs[id]?.record.state = state
    jobs[id]?.record.reason = reason
    persist(.state(id, state, reason: reason))
    log(id, state == .failed ? .error : .info, "\(state.rawValue): \(reason)")
    emit(.changed(id))
  }

  /// Ends the job's generation, if it has one, and sets free all who work or stand by for it; they drop its state.
  mutating func dissolve(_ id: JobID, reason: String, at now: Instant) {
    guard let job = jobs[id] else { return }
    let generation = job.record.generation
    switch job.stage {
    case .generation, .recovering: persist(.generationEnded(id, generation, reason: reason))
    case .preparing, .waiting, .paused, .over: break
    }
    let stamp = Stamp(job: id, generation: generation)
    for worker in workers.keys where status(of: worker) == .assigned(id) {
      send(.end(stamp, reason: reason, jobOver: true), to: worker)
      workers[worker]?.status = .idle(since: now)
    }
    for standby in standbys(of: id) { standDown(standby.worker, reason: reason) }
    if case .recovering(let recovery) = job.stage { forgetAbsent(recovery.record.members) }
    forgetStopping(of: id)
    jobs[id]?.heldUp = nil
  }

  /// The rank behind a message of the current generation, also while not all members are back after a restart.
  private mutating func speaker(_ connection: ConnectionID, _ stamp: Stamp, at now: Instant) -> Int? {
    if case .recovering(let recovery) = stage(of: stamp.job), recovery.record.number == stamp.generation,
      let worker = heard(connection, at: now), recovery.returned[worker] != nil
    {
      return recovery.record.members.firstIndex { $0.worker == worker }
    }
    return member(connection, stamp, at: now)?.rank
  }
}
