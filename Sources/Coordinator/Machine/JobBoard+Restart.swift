// After a restart of the coordinator. Its members trained on meanwhile, so a generation that had started is not touched: if
// all of its members come back in time and still work on it, it goes on as if nothing had happened.
package import RunStore

extension JobBoard {
  /// Takes over what an earlier coordinator on the same directory knew; call once, before any event.
  ///
  /// - Parameters:
  ///   - snapshot: the store's content.
  ///   - settings: of every job that is not over; a missing one means that its stored spec is not readable any more.
  /// - Returns: what to do, as `step` does.
  package mutating func restore(
    _ snapshot: RunStore.Snapshot, settings: [JobID: JobSettings], at now: Instant
  ) -> [Effect] {
    lastJob = snapshot.jobs.map(\.id.rawValue).max() ?? 0
    lastWorker = snapshot.lastWorker
    for record in snapshot.jobs {
      var job = Job(
        record: record, settings: settings[record.id] ?? JobSettings(), stage: .over,
        checkpoints: snapshot.checkpoints[record.id] ?? [])
      job.alumni = snapshot.alumni[record.id] ?? []
      job.committedStep = job.newestCheckpoint?.step ?? 0
      jobs[record.id] = job
      guard !record.state.isOver else { continue }
      openJobs.append(record.id)
      guard settings[record.id] != nil else {
        conclude(record.id, .failed, reason: "its stored spec is not valid for this version of Temper", at: now)
        continue
      }
      let stopping = record.intent.map { $0 == .pause ? Job.Stopping.Aim.pause : .cancel }
      jobs[record.id]?.stopping = stopping.map { Job.Stopping(aim: $0, deadline: now + limits.saving) }
      if record.state == .paused {
        jobs[record.id]?.stage = .paused(record.reason)
      } else {
        resume(record.id, snapshot.generations[record.id], snapshot.workers, at: now)
      }
    }
    // As after every event, so that the reasons tell of the restart.
    isSettled = false
    return step(.tick, at: now)
  }

  private mutating func resume(
    _ id: JobID, _ generation: GenerationRecord?, _ known: [WorkerRecord], at now: Instant
  ) {
    guard jobs[id]?.record.dataset.isEmpty == false else {
      jobs[id]?.stage = .preparing("waits for its data set")
      emit(.prepareDataset(id))
      return
    }
    guard let generation, generation.endReason == nil else {
      jobs[id]?.stage = .waiting(Job.Interlude(cause: "the coordinator was restarted"))
      return
    }
    guard generation.started else {
      let cause = "the coordinator was restarted before it started"
      persist(.generationEnded(id, generation.number, reason: cause))
      jobs[id]?.stage = .waiting(Job.Interlude(cause: cause))
      return
    }
    for record in known where generation.members.contains(where: { $0.worker == record.id }) {
      workers[record.id] = Worker(record: record, connection: nil, status: .absent, lastHeard: now)
    }
    jobs[id]?.stage = .recovering(Job.Recovery(record: generation, deadline: now + limits.recovery))
  }

  /// A worker says hello and claims to be working on `stamp`; true when that is a generation that is being recovered.
  mutating func returned(_ worker: WorkerID, to stamp: Stamp, step: UInt64, at now: Instant) -> Bool {
    guard case .recovering(var recovery) = stage(of: stamp.job), var job = jobs[stamp.job],
      recovery.record.number == stamp.generation, recovery.record.members.contains(where: { $0.worker == worker })
    else { return false }
    recovery.returned[worker] = step
    job.stage = .recovering(recovery)
    job.committedStep = max(job.committedStep, step)
    workers[worker]?.status = .assigned(stamp.job)
    if recovery.returned.count == recovery.record.members.count {
      var membership = Membership(recovery.record, announced: job.newestCheckpoint, phase: .training, at: now)
      for rank in membership.members.indices {
        membership.members[rank].committedStep = recovery.returned[membership.members[rank].worker] ?? 0
      }
      job.stage = .generation(membership)
      log(stamp.job, .info, "generation \(stamp.generation): all members are back, it goes on undisturbed")
    }
    jobs[stamp.job] = job
    return true
  }

  mutating func watchRecovery(of id: JobID, at now: Instant) {
    guard case .recovering(let recovery) = stage(of: id), now >= recovery.deadline else { return }
    let missing = recovery.record.members.map(\.worker).filter { recovery.returned[$0] == nil }
    let names = missing.map(\.description).joined(separator: ", ")
    endRecovery(
      of: id, reason: "\(names) did not come back within \(limits.recovery.spoken) of the coordinator's restart")
  }

  /// Gives up waiting for members: those that are back are the survivors of the generation.
  mutating func endRecovery(of id: JobID, reason: String) {
    guard case .recovering(let recovery) = stage(of: id) else { return }
    let survivors = recovery.record.members.map(\.worker).filter { recovery.returned[$0] != nil }
    let stamp = Stamp(job: id, generation: recovery.record.number)
    persist(.generationEnded(id, stamp.generation, reason: reason))
    log(id, .warning, "generation \(stamp.generation) ends: \(reason)")
    for worker in survivors { send(.end(stamp, reason: reason, jobOver: false), to: worker) }
    forgetAbsent(recovery.record.members)
    jobs[id]?.stage = .waiting(Job.Interlude(survivors: survivors, cause: reason))
  }

  mutating func forgetAbsent(_ members: [MemberRecord]) {
    for member in members where status(of: member.worker) == .absent { workers[member.worker] = nil }
  }
}
