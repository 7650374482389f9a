// The link to the coordinator, the clock, and the ways out of the process.
import Logging

extension MemberMachine {
  mutating func linkChanged(_ event: MemberEvent, _ now: Duration) -> [MemberEffect] {
    switch event {
    case .linkUp:
      link = .connected
      lastHeartbeat = now
      return [.send(.hello(key))]
    case .linkDown(let reason):
      trouble = reason
      guard link != .down else { return [] }
      link = .down
      linkSince = now
      let meanwhile = phase == .training ? "; training goes on" : ""
      return [.log(.warning, "lost the coordinator (\(reason))\(meanwhile)")]
    case .welcomed(let worker):
      guard link != .welcomed else { return [] }
      link = .welcomed
      linkSince = now
      lastHeartbeat = now
      if case .announced = leaving { return [.send(.leave(reason: leaveReason))] }
      if phase == .idle { phaseSince = now }
      return [.log(.info, "known to the coordinator as worker \(worker)")] + restate()
    case .refused(let reason, let remedy, let exitCode):
      let hint = remedy.isEmpty ? "" : "\n  hint: \(remedy)"
      return [.log(.error, "the coordinator refuses this worker: \(reason)\(hint)")] + exit(code: exitCode)
    default:
      return []
    }
  }

  mutating func signaled(_ name: String, _ now: Duration) -> [MemberEffect] {
    guard leaving == nil else { return [] }
    leaveReason = name
    leavingSince = now
    guard let assignment else {
      return [.log(.info, "\(name): leaving, nothing to do")] + announce(now)
    }
    // The last holder of the state saves it; the others leave it with their peers.
    let holdsAlone = assignment.peers.count == 1 && holdsState
    guard holdsAlone, link == .welcomed else {
      return [.log(.info, "\(name): leaving \(assignment.key)")] + announce(now)
    }
    leaving = .saving
    return [
      .log(.info, "\(name): saving the state of \(assignment.key), then leaving"), .saveAndStop(assignment.key),
    ]
  }

  /// Drained by a person: as after a signal, and nobody is to start it again.
  mutating func drained(_ reason: String, _ now: Duration) -> [MemberEffect] {
    leaveCode = WorkerExit.success
    return signaled(reason, now)
  }

  private var holdsState: Bool {
    switch phase {
    case .training, .stopped, .trained: true
    default: false
    }
  }

  /// The job is over while its state is being saved: the coordinator would refuse it.
  mutating func nothingToSave(_ key: GenerationKey, _ reason: String, _ now: Duration) -> [MemberEffect] {
    guard let current = self.key, key.job == current.job, key >= current else { return stale("end", key) }
    assignment = nil
    enter(.idle, now)
    let effects: [MemberEffect] = [
      .interrupt(reason: reason), .drop(job: key.job), .log(.info, "job \(key.job) is over: \(reason)"),
    ]
    return effects + announce(now)
  }

  mutating func announce(_ now: Duration) -> [MemberEffect] {
    leaving = .announced(at: now)
    let interrupt: [MemberEffect] = assignment == nil ? [] : [.interrupt(reason: leaveReason)]
    // Nobody to tell: go.
    return interrupt + (link == .welcomed ? [.send(.leave(reason: leaveReason))] : exit())
  }

  /// Signaled: 75 asks the scheduler to start this worker again, as there is work left.
  func exit() -> [MemberEffect] {
    exit(code: leaveCode ?? (assignment == nil ? WorkerExit.success : WorkerExit.requeue))
  }

  func exit(code: Int32) -> [MemberEffect] { [.exit(code: code)] }

  mutating func ticked(_ now: Duration) -> [MemberEffect] {
    if let leavingSince {
      if now - leavingSince >= limits.leaveTimeout {
        return [.log(.warning, "gave up saving after \(limits.leaveTimeout)")] + exit()
      }
      if case .announced(let at) = leaving, now - at >= limits.leaveAnswerTimeout { return exit() }
    }
    if let gone = coordinatorGone(now) { return gone }
    if limits.once, leaving == nil, link == .welcomed, phase == .idle, standby == nil,
      now - phaseSince >= limits.onceIdle
    {
      leaveReason = "nothing to do"
      leavingSince = now
      return [.log(.info, "nothing to do for \(limits.onceIdle)")] + announce(now)
    }
    // From the connection on: a slow answer to hello must not look like silence.
    guard link != .down, now - lastHeartbeat >= limits.heartbeat else { return [] }
    lastHeartbeat = now
    return [.send(.heartbeat(key))]
  }

  /// Steps need no coordinator, everything else does.
  private func coordinatorGone(_ now: Duration) -> [MemberEffect]? {
    guard link != .welcomed, leaving == nil, phase != .training else { return nil }
    // Whoever trained on without it gives it the full time from the end of the training.
    let since = max(linkSince, phaseSince)
    guard now - since >= limits.coordinatorTimeout else { return nil }
    let answer = link == .connected ? "is connected but does not answer" : "cannot be reached"
    let reason = trouble.isEmpty || link == .connected ? "" : ": \(trouble)"
    return [
      .log(
        .error,
        "the coordinator at \(limits.coordinator) \(answer), for \(limits.coordinatorTimeout)\(reason)\n"
          + "  hint: start temper-coordinator there, or correct --coordinator and the firewall")
    ] + exit(code: WorkerExit.unreachable)
  }
}
