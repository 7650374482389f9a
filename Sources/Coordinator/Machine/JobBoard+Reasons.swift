// Why each job is in its state, in words with counts. Logged when they change, shown by `temper jobs`, asserted in tests.
package import RunStore

extension JobBoard {
  /// Why a job is in its state, with the time that it has been so.
  ///
  /// - Parameter clock: nil leaves out what changes all the time (seconds and steps).
  package func reason(of id: JobID, at clock: Instant?) -> String {
    let now = clock.map(local)
    guard let job = jobs[id] else { return "there is no \(id)" }
    switch job.stage {
    case .over: return job.record.reason
    case .preparing(let text), .paused(let text): return text
    case .recovering(let recovery):
      let missing = recovery.record.members.map(\.worker).filter { recovery.returned[$0] == nil }
      return "the coordinator was restarted: \(recovery.returned.count) of \(recovery.record.members.count) members of "
        + "generation \(recovery.record.number) are back; \(waiting(for: missing))"
        + (now.map { ", \((recovery.deadline - $0).spoken) left" } ?? "")
    case .waiting(let interlude): return reason(job, interlude, at: now)
    case .generation(let membership): return reason(membership, at: now)
    }
  }

  private func reason(_ membership: Membership, at now: Instant?) -> String {
    let count = membership.members.count
    let missing = membership.waitingFor
    let generation = "generation \(membership.stamp.generation): "
    let elapsed = now.map { ", \(($0 - membership.phaseSince).spoken)" } ?? ""
    switch membership.phase {
    case .gathering:
      return generation + "\(count - missing.count) of \(count) members answered; \(waiting(for: missing))\(elapsed)"
    case .checking:
      return generation + "checking the checkpoint of step \(membership.announced?.step ?? 0)\(elapsed)"
    case .synchronizing(let step):
      return generation + "\(count - missing.count) of \(count) members ready at step \(step); "
        + "\(waiting(for: missing))\(elapsed)"
    case .training where membership.boundary != nil:
      let stopped = membership.members.filter(\.hasStopped).count
      return generation + "\(stopped) of \(count) members have stopped; \(membership.boundary?.cause ?? "")"
    case .training:
      return generation + "\(count) \(count == 1 ? "worker" : "workers")"
        + (now == nil ? "" : ", step \(membership.committedStep)")
    }
  }

  private func reason(_ job: Job, _ interlude: Job.Interlude, at now: Instant?) -> String {
    let count = interlude.survivors.count + interlude.candidates.count
    if let suspect = interlude.suspects.min(by: { $0.key < $1.key }) {
      return "waiting for a sign of life of \(suspect.key): \(suspect.value.evidence)"
    }
    let from = job.newestCheckpoint.map { "; from checkpoint step \($0.step)" } ?? ""
    guard count >= job.settings.minimumWorkers else {
      let ahead = jobs.values.filter { isAhead($0, of: job) }.count
      let turn = ahead == 0 ? "" : "; \(ahead) \(ahead == 1 ? "job" : "jobs") ahead"
      let resumed = interlude.survivors.isEmpty ? from : ""
      return "\(count) of \(job.settings.minimumWorkers) workers\(resumed)\(turn)"
    }
    if let notBefore = interlude.notBefore, let now, now < notBefore {
      return "restart \(job.budget.spent) of \(RestartBudget.delays.count) in \((notBefore - now).spoken): "
        + interlude.cause
    }
    return "\(count) of \(job.settings.capacity) workers; waiting for more to arrive"
  }

  private func isAhead(_ other: Job, of job: Job) -> Bool {
    other.isReadyForWorkers
      && (job.settings.priority, other.record.id) < (other.settings.priority, job.record.id)
  }

  private func waiting(for workers: [WorkerID]) -> String {
    "waiting for " + workers.map(\.description).joined(separator: ", ")
  }

  /// Takes over the states and reasons that this event has changed.
  mutating func noteStates(at now: Instant) {
    for id in openJobs {
      guard let job = jobs[id] else { continue }
      let state = job.visibleState
      let reason = reason(of: id, at: nil)
      let isNew = job.record.state != state
      guard isNew || job.record.reason != reason else { continue }
      jobs[id]?.record.state = state
      jobs[id]?.record.reason = reason
      if isNew { persist(.state(id, state, reason: reason)) }
      log(id, isNew ? .info : .debug, "\(state.rawValue): \(reason)")
      emit(.changed(id))
    }
  }
}

extension JobBoard.Job {
  var visibleState: JobState {
    switch stage {
    case .preparing: .preparing
    case .waiting(let interlude): interlude.survivors.isEmpty ? .queued : .running
    case .recovering, .generation: .running
    case .paused: .paused
    case .over: record.state
    }
  }

  var isReadyForWorkers: Bool {
    switch stage {
    case .waiting, .recovering, .generation: true
    case .preparing, .paused, .over: false
    }
  }
}
