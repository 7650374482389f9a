// Why each job is in its state, in words with counts. Logged when they change, shown by `temper jobs`, asserted in tests.
package import RunStore

extension JobBoard {
  /// Why a job is in its state, with the time that it has been so.
  ///
  /// - Parameter clock: nil leaves out what changes all the time (seconds and steps).
  package func reason(of id: JobID, at clock: Instant?) -> String {
    jobs.index(of: id).map { reason(ofRow: $0, at: clock.map(local)) } ?? "there is no \(id)"
  }

  private func reason(ofRow row: Int, at now: Instant?) -> String {
    switch jobs[at: row].stage {
    case .over: return jobs[at: row].record.reason
    case .preparing(let text), .paused(let text): return text
    case .recovering(let recovery):
      let missing = recovery.record.members.map(\.worker).filter { recovery.returned[$0] == nil }
      return "the coordinator was restarted: \(recovery.returned.count) of \(recovery.record.members.count) members of "
        + "generation \(recovery.record.number) are back; \(waiting(for: missing))"
        + (now.map { ", \((recovery.deadline - $0).spoken) left" } ?? "")
    case .waiting(let interlude): return reason(ofRow: row, interlude, at: now)
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
      let checkpoint = membership.announced.map { "the checkpoint of step \($0.step)" } ?? "for a checkpoint"
      return generation + "checking \(checkpoint)\(elapsed)"
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

  private func reason(ofRow row: Int, _ interlude: Job.Interlude, at now: Instant?) -> String {
    let settings = jobs[at: row].settings
    let count = interlude.survivors.count + interlude.candidates.count
    if let suspect = interlude.suspects.min(by: { $0.key < $1.key }) {
      return "waiting for a sign of life of \(suspect.key): \(suspect.value.evidence)"
    }
    let from = jobs[at: row].checkpoints.last.map { "; from checkpoint step \($0.step)" } ?? ""
    guard count >= settings.minimumWorkers else {
      let ahead = jobs.indices.count { isAhead($0, of: row) }
      let turn = ahead == 0 ? "" : "; \(ahead) \(ahead == 1 ? "job" : "jobs") ahead"
      let resumed = interlude.survivors.isEmpty ? from : ""
      return "\(count) of \(settings.minimumWorkers) workers\(resumed)\(turn)"
    }
    if let notBefore = interlude.notBefore, let now, now < notBefore {
      return "restart \(jobs[at: row].budget.spent) of \(RestartBudget.delays.count) in \((notBefore - now).spoken): "
        + interlude.cause
    }
    return "\(count) of \(settings.capacity) workers; waiting for more to arrive"
  }

  private func isAhead(_ other: Int, of row: Int) -> Bool {
    jobs[at: other].stage.isReadyForWorkers
      && (jobs[at: row].settings.priority, other) < (jobs[at: other].settings.priority, row)
  }

  private func waiting(for workers: [WorkerID]) -> String {
    "waiting for " + workers.map(\.description).joined(separator: ", ")
  }

  /// Takes over the states and reasons that this event has changed.
  mutating func noteStates(at now: Instant) {
    for id in openJobs {
      guard let row = jobs.index(of: id) else { continue }
      let state = jobs[at: row].stage.visibleState ?? jobs[at: row].record.state
      let reason = reason(ofRow: row, at: nil)
      let isNew = jobs[at: row].record.state != state
      guard isNew || jobs[at: row].record.reason != reason else { continue }
      jobs[at: row].record.state = state
      jobs[at: row].record.reason = reason
      if isNew { persist(.state(id, state, reason: reason)) }
      log(id, isNew ? .info : .debug, "\(state.rawValue): \(reason)")
      emit(.changed(id))
    }
  }
}

extension JobBoard.Job.Stage {
  /// nil where the record tells how the job ended.
  var visibleState: JobState? {
    switch self {
    case .preparing: .preparing
    case .waiting(let interlude): interlude.survivors.isEmpty ? .queued : .running
    case .recovering, .generation: .running
    case .paused: .paused
    case .over: nil
    }
  }

  var isReadyForWorkers: Bool {
    switch self {
    case .waiting, .recovering, .generation: true
    case .preparing, .paused, .over: false
    }
  }
}
