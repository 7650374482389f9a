// What people ask of jobs: pause, resume, cancel, kill, retry. A pause and a cancellation store a checkpoint first; what was asked is
// persisted before it is answered, so a coordinator that restarts meanwhile goes on with it.
import RunStore

extension JobBoard {
  mutating func control(_ request: RequestID, _ id: JobID, _ verb: JobVerb, at now: Instant) {
    let outcome: (accepted: Bool, reason: String)
    if let job = jobs[id] {
      outcome = act(on: job, verb, at: now)
    } else {
      outcome = (false, "there is no \(id)")
    }
    emit(.answer(request, .controlled(accepted: outcome.accepted, reason: outcome.reason)))
  }

  private mutating func act(on job: Job, _ verb: JobVerb, at now: Instant) -> (accepted: Bool, reason: String) {
    let id = job.record.id
    guard !job.record.state.isOver else { return (false, "\(id) is \(job.record.state.rawValue) already") }
    switch verb {
    case .kill:
      conclude(id, .cancelled, reason: "killed at step \(job.committedStep)", at: now)
    case .cancel, .pause:
      if case .paused(let reason) = job.stage, verb == .pause { return (true, "\(id) is \(reason)") }
      return rest(job, verb == .pause ? .pause : .cancel, at: now)
    case .resume:
      if job.stopping?.aim == .pause {
        // What was announced to its members is now an end like others: they go on after it.
        forgetStopping(of: id)
        log(id, .info, "the pause is taken back")
        return (true, "the pause is taken back, the job goes on")
      }
      guard case .paused = job.stage else { return (false, "\(id) is \(job.record.state.rawValue), not paused") }
      start(id, cause: "resumed")
      return (true, "goes on from \(origin(of: job))")
    }
    return (true, reason(of: id, at: nil))
  }

  /// Lets a job go to rest, at once when it holds nothing that is not in a checkpoint.
  private mutating func rest(_ job: Job, _ aim: Job.Stopping.Aim, at now: Instant) -> (Bool, String) {
    let id = job.record.id
    let intent: JobIntent = aim == .pause ? .pause : .cancel
    jobs[id]?.record.intent = intent
    persist(.intent(id, intent))
    jobs[id]?.stopping = Job.Stopping(aim: aim, deadline: now + limits.saving)
    watchStopping(of: id, at: now)
    guard jobs[id]?.stopping != nil else { return (true, reason(of: id, at: nil)) }
    orderStop(of: id)
    return (
      true, "stores a checkpoint of step \(job.committedStep) or later, then \(aim == .pause ? "pauses" : "ends")"
    )
  }

  /// The job is no longer on its way to rest: it has come to it, or goes on.
  mutating func forgetStopping(of id: JobID) {
    if jobs[id]?.record.intent != nil { persist(.intent(id, nil)) }
    jobs[id]?.record.intent = nil
    jobs[id]?.stopping = nil
  }

  mutating func retry(_ request: RequestID, _ id: JobID, _ settings: JobSettings?) {
    func answer(_ accepted: Bool, _ reason: String) {
      emit(.answer(request, .controlled(accepted: accepted, reason: reason)))
    }
    guard let old = jobs[id] else { return answer(false, "there is no \(id)") }
    guard old.record.state == .failed || old.record.state == .cancelled else {
      let advice = old.record.state == .finished ? "; submit it again, or fork it from a checkpoint" : ""
      return answer(false, "\(id) is \(old.record.state.rawValue)\(advice)")
    }
    guard let settings else { return answer(false, "the stored spec of \(id) is not valid for this version of Temper") }
    var job = Job(record: old.record, settings: settings, stage: .over, checkpoints: old.checkpoints)
    job.alumni = old.alumni
    job.committedStep = job.newestCheckpoint?.step ?? 0
    job.record.state = .queued
    jobs[id] = job
    openJobs.append(id)
    openJobs.sort()
    start(id, cause: "tried again")
    persist(.state(id, .queued, reason: "tried again"))
    answer(true, "tried again from \(origin(of: job))")
  }

  /// Puts a job in the queue with a fresh budget.
  private mutating func start(_ id: JobID, cause: String) {
    guard let job = jobs[id] else { return }
    jobs[id]?.budget.refill()
    jobs[id]?.accusations = [:]
    log(id, .info, "\(cause), from \(origin(of: job))")
    if job.record.dataset.isEmpty {
      jobs[id]?.stage = .preparing("waits for its data set")
      emit(.prepareDataset(id))
    } else {
      jobs[id]?.stage = .waiting(Job.Interlude(cause: cause))
    }
  }

  private func origin(of job: Job) -> String {
    job.newestCheckpoint.map { "the checkpoint of step \($0.step)" } ?? "the beginning"
  }

  // MARK: Coming to rest

  /// Has a job that is to rest store its checkpoint as soon as its members train.
  mutating func orderStop(of id: JobID) {
    guard let stopping = jobs[id]?.stopping else { return }
    let cause =
      switch stopping.aim {
      case .pause: "the job is paused"
      case .cancel: "the job is cancelled"
      case .yield: "jobs of a higher priority need its workers"
      }
    announceEnd(of: id, cause: cause, saves: true)
  }

  /// A job to rest has nothing to save, or has had its time.
  mutating func watchStopping(of id: JobID, at now: Instant) {
    guard let job = jobs[id], let stopping = job.stopping else { return }
    switch job.stage {
    case .preparing, .paused: comeToRest(id, at: now)
    case .waiting(let interlude) where interlude.survivors.isEmpty: comeToRest(id, at: now)
    case .generation(let membership) where membership.members[0].isWorking:
      // Standstill is found by other means; what may take for ever is the saving.
      jobs[id]?.stopping?.deadline = now + limits.saving
    case .waiting, .recovering, .generation: if now >= stopping.deadline { comeToRest(id, at: now) }
    case .over: break
    }
  }

  /// The checkpoint is stored, or there is none to be had.
  mutating func comeToRest(_ id: JobID, at now: Instant) {
    guard let job = jobs[id], let stopping = job.stopping else { return }
    let lost = job.committedStep - min(job.committedStep, job.newestCheckpoint?.step ?? 0)
    let place = "at step \(job.committedStep)" + (lost == 0 ? "" : "; its last \(lost) steps are in no checkpoint")
    switch stopping.aim {
    case .cancel: conclude(id, .cancelled, reason: "cancelled \(place)", at: now)
    case .pause:
      dissolve(id, reason: "paused \(place)", at: now)
      jobs[id]?.stage = .paused("paused \(place)")
    case .yield:
      let cause = "its workers went to jobs of a higher priority \(place)"
      dissolve(id, reason: cause, at: now)
      jobs[id]?.stage = .waiting(Job.Interlude(cause: cause))
    }
    jobs[id]?.committedStep = job.newestCheckpoint?.step ?? 0
  }
}
