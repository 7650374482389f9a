// The end of a generation that is announced ahead: for newcomers, for shards that move to faster workers, for workers that
// go to another job, for a last checkpoint. Members commit every step up to it, so nothing is computed in vain; newcomers fetch the
// data set while the others go on (standby). What happens at the end itself is short: links, one state, the start.
import RunStore

extension JobBoard {
  /// Tells the members of a training generation to stop after a step that none of them has reached yet.
  ///
  /// - Parameters:
  ///   - cause: why, for logs and the store.
  ///   - keep: members that stay, from rank 0; all by default.
  ///   - saves: stop after rank 0 has stored a checkpoint.
  mutating func announceEnd(of id: JobID, cause: String, keep: Int? = nil, saves: Bool = false) {
    guard case .generation(var membership) = stage(of: id), let job = jobs[id], membership.phase == .training,
      membership.boundary == nil
    else { return }
    // What is known of their steps is a report old; at least two steps lie ahead of whoever is the furthest.
    let unreported = job.clock.median.map { limits.reportLag / max($0, .milliseconds(1)) } ?? 0
    let ahead = membership.committedStep + 2 + UInt64(unreported.rounded(.up))
    // One alone waits for nobody.
    let step = saves && membership.members.count == 1 ? 0 : ahead
    membership.boundary = Membership.Boundary(
      step: step, saves: saves, cause: cause, keep: keep ?? membership.members.count)
    jobs[id]?.stage = .generation(membership)
    let stamp = membership.stamp
    for member in membership.members { send(.stop(stamp, step: step, saves: saves), to: member.worker) }
    let last = (step == 0 ? "its next step" : "step \(step)") + (saves ? " and a checkpoint" : "")
    log(id, .info, "generation \(stamp.generation): ends after \(last): \(cause)")
  }

  mutating func stopped(_ connection: ConnectionID, _ stamp: Stamp, step: UInt64, at now: Instant) {
    if case .recovering(let recovery) = stage(of: stamp.job), recovery.record.number == stamp.generation,
      let worker = heard(connection, at: now), recovery.returned[worker] != nil
    {
      // The others cannot go on without it, whether they are back or not.
      endRecovery(of: stamp.job, reason: "\(worker) stopped at step \(step), as it was told before the restart")
      return
    }
    guard let (_, rank, current) = member(connection, stamp, at: now), current.phase == .training else { return }
    var membership = current
    let complete = membership.stopped(rank, step: step, at: now)
    jobs[stamp.job]?.stage = .generation(membership)
    let newest = membership.committedStep
    jobs[stamp.job]?.committedStep = newest
    if jobs[stamp.job]?.heldUp == nil { jobs[stamp.job]?.heldUp = (now, stamp.generation) }
    if complete { reachBoundary(of: stamp.job, at: now) }
  }

  /// Ends the generation where it was announced.
  private mutating func reachBoundary(of id: JobID, at now: Instant) {
    guard case .generation(let membership) = stage(of: id), let boundary = membership.boundary else { return }
    if boundary.saves, jobs[id]?.stopping != nil { return comeToRest(id, at: now) }
    endGeneration(id, reason: boundary.cause, counts: false, keep: boundary.keep, at: now)
  }

  /// Members that stop one step apart wait for each other in vain: the rest is brought about by the end itself.
  mutating func watchBoundary(of id: JobID, at now: Instant) {
    guard case .generation(let membership) = stage(of: id), let boundary = membership.boundary,
      let first = boundary.firstStopped, now - first >= limits.stopping
    else { return }
    let leader = membership.members[0]
    if !boundary.saves || leader.hasStopped { return reachBoundary(of: id, at: now) }
    // Its checkpoint is on the way, or it waits for those that have stopped and is asked again in the next generation.
    if leader.activity.hasPrefix("saving") { return }
    endGeneration(id, reason: boundary.cause, counts: false, at: now)
  }

  // MARK: Standing by

  /// A worker that gets the data of a job before it joins.
  struct Standby {
    var worker: WorkerID
    var since: Instant
    var isReady: Bool
  }

  func standbys(of id: JobID) -> [Standby] {
    var standbys: [Standby] = []
    for row in workers.indices {
      guard case .standby(id, let since, let isReady) = workers[at: row].status else { continue }
      standbys.append(Standby(worker: workers.keys[row], since: since, isReady: isReady))
    }
    return standbys
  }

  mutating func standBy(_ worker: WorkerID, for id: JobID) {
    guard case .idle(let since) = status(of: worker), let record = jobs[id]?.record else { return }
    workers[worker]?.status = .standby(id, since: since, isReady: false)
    send(.standby(id, spec: record.spec, dataset: record.dataset), to: worker)
    log(id, .info, "\(worker) stands by: it fetches the data while the others go on")
  }

  /// The worker is free for another job.
  mutating func standDown(_ worker: WorkerID, reason: String) {
    guard case .standby(let id, let since, _) = status(of: worker) else { return }
    workers[worker]?.status = .idle(since: since)
    send(.end(Stamp(job: id, generation: 0), reason: reason, jobOver: true), to: worker)
  }

  mutating func standbyReady(_ connection: ConnectionID, _ id: JobID, at now: Instant) {
    guard let worker = heard(connection, at: now) else { return }
    guard case .standby(id, let since, _) = status(of: worker) else {
      staleCount += 1
      return
    }
    workers[worker]?.status = .standby(id, since: since, isReady: true)
  }
}
