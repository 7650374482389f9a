// The course of a generation, from the order to begin to its end.
import Logging

extension MemberMachine {
  mutating func begin(_ next: Assignment, _ now: Duration) -> [MemberEffect] {
    var effects: [MemberEffect] = []
    if let key {
      // Numbers of different jobs say nothing about their order.
      if next.key.job == key.job, next.key <= key { return stale("begin", next.key) }
      effects.append(.interrupt(reason: "\(key) gives way to \(next.key)"))
      if key.job != next.key.job { effects.append(.drop(job: key.job)) }
    }
    assignment = next
    standby = nil
    enter(.forming, now)
    effects.append(.log(.info, next.summary))
    effects.append(.form(next))
    return effects
  }

  mutating func formed(_ key: GenerationKey, _ step: UInt64?, _ now: Duration) -> [MemberEffect] {
    guard key == self.key, phase == .forming else { return stale("formed", key) }
    enter(.positioned(step: step), now)
    return say(.position(key, step: step))
  }

  mutating func synchronize(_ key: GenerationKey, _ target: Synchronization, _ now: Duration) -> [MemberEffect] {
    guard key == self.key, case .positioned = phase else { return stale("synchronize", key) }
    enter(.synchronizing, now)
    return [.synchronize(key, target)]
  }

  mutating func synchronized(_ key: GenerationKey, _ step: UInt64, _ now: Duration) -> [MemberEffect] {
    guard key == self.key, phase == .synchronizing else { return stale("synchronized", key) }
    enter(.ready(step: step), now)
    return say(.ready(key, step: step))
  }

  mutating func start(_ key: GenerationKey, _ now: Duration) -> [MemberEffect] {
    guard key == self.key, case .ready(let step) = phase else { return stale("start", key) }
    enter(.training, now)
    return [.log(.info, "\(key): training from step \(step)"), .train(key)]
  }

  mutating func stop(_ key: GenerationKey, _ step: UInt64, _ saves: Bool) -> [MemberEffect] {
    guard key == self.key, phase == .training else { return stale("stop", key) }
    return [.stop(key, step: step, saves: saves)]
  }

  mutating func stopped(_ key: GenerationKey, _ step: UInt64, _ now: Duration) -> [MemberEffect] {
    guard key == self.key, phase == .training else { return stale("stopped", key) }
    enter(.stopped(step: step), now)
    return [.log(.info, "\(key): stopped at step \(step), as announced")] + say(.stopped(key, step: step))
  }

  mutating func standBy(_ order: StandbyOrder, _ now: Duration) -> [MemberEffect] {
    var effects: [MemberEffect] = []
    if let key {
      // A worker that was away has a generation behind it that ended without it. Its state of this job may be of use.
      guard phase == .interrupted else { return stale("standby", GenerationKey(job: order.job, generation: 0)) }
      if key.job != order.job {
        effects.append(.drop(job: key.job))
        assignment = nil
        enter(.idle, now)
      }
    }
    standby = order.job
    return effects + [.log(.info, "standing by for job \(order.job)"), .standBy(order)]
  }

  mutating func trained(_ key: GenerationKey, _ now: Duration) -> [MemberEffect] {
    guard key == self.key, phase == .training else { return stale("trained", key) }
    enter(.trained, now)
    return [.log(.info, "\(key): all steps done")]
  }

  mutating func end(_ key: GenerationKey, _ reason: String, _ jobOver: Bool, _ now: Duration) -> [MemberEffect] {
    if jobOver, let standby, key.job == standby {
      self.standby = nil
      assignment = nil
      enter(.idle, now)
      return [.drop(job: standby), .log(.info, "no longer standing by for job \(standby): \(reason)")]
    }
    // The end of a job holds for every generation of it that this worker may be in.
    guard let current = self.key, key == current || (jobOver && key.job == current.job && key > current) else {
      return stale("end", key)
    }
    let interrupt = MemberEffect.interrupt(reason: reason)
    if jobOver {
      assignment = nil
      enter(.idle, now)
      return [interrupt, .drop(job: key.job), .log(.info, "job \(key.job) is over: \(reason)")]
    }
    enter(.interrupted, now)
    return [interrupt, .log(.info, "\(key) ended: \(reason)")]
  }

  mutating func peerLost(
    _ key: GenerationKey, _ rank: Int, _ evidence: String, _ now: Duration
  ) -> [MemberEffect] {
    guard key == self.key, let assignment else { return stale("peerLost", key) }
    switch phase {
    case .forming, .positioned, .synchronizing, .ready, .training: break
    // Members whose work is done close their links; and one loss is enough to end a generation.
    case .idle, .stopped, .trained, .interrupted, .peerLost, .failed: return stale("peerLost", key)
    }
    let name = assignment.peers.indices.contains(rank) ? assignment.peers[rank].name : "?"
    enter(.peerLost(rank: rank, evidence: evidence), now)
    return [
      .interrupt(reason: "lost rank \(rank)"),
      .log(.warning, "\(key): lost rank \(rank) (\(name)): \(evidence); waiting for the next generation"),
    ] + say(.peerLost(key, rank: rank, evidence: evidence))
  }

  mutating func failed(_ key: GenerationKey, _ failure: JobFailure, _ now: Duration) -> [MemberEffect] {
    guard key == self.key, phase != .interrupted else { return stale("failed", key) }
    if case .peerLost = phase { return stale("failed", key) }
    enter(.failed(failure), now)
    return [
      .interrupt(reason: "the job failed here"), .log(.error, "\(key): \(failure.message)"),
    ] + say(.failed(key, failure))
  }
}
