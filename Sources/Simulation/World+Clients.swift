// People: each client submits one job after the other, asks again until it is told that the job is taken, and now and then changes its
// mind.
import Coordinator
import RunStore

/// Somebody who wants jobs done.
struct Client {
  let index: Int
  /// The job that it wants, by plan; nil between two.
  var wish: Int?
  /// The job as acknowledged.
  var job: JobID?
  var submissions = 0
  /// What it has asked of a job last.
  var asked: (job: JobID, verb: JobVerb)?
  var hasTriedAgain = false

  init(index: Int) { self.index = index }

  var key: String { "client-\(index)-\(submissions)" }
}

extension World {
  func clientWakes(_ index: Int) {
    if clients[index].wish == nil {
      guard now < plan.faultEnd else { return }
      let plan = JobPlan(&dice, slotCount: slots.count)
      jobPlans.append(plan)
      references.append(Reference(seed: plan.seed, shardCount: plan.settings.shardCount))
      clients[index].wish = jobPlans.count - 1
      clients[index].submissions += 1
      clients[index].hasTriedAgain = false
    }
    // Who had no luck before faults stopped gives up.
    if isHealed, judge.jobOfKey[clients[index].key] == nil { return }
    if let job = clients[index].job {
      changeMind(index, job)
    } else {
      after(dice.span(mean: plan.delay), .clientArrives(index, .submit))
    }
    after(dice.span(mean: 3_000_000), .client(index))
  }

  /// Pauses, resumes, cancels, kills and tries again, also what is not paused (yet); after faults stop, what is paused goes on.
  private func changeMind(_ index: Int, _ job: JobID) {
    let state = judge.jobs[job]?.state
    func ask(_ request: ClientRequest) { after(dice.span(mean: plan.delay), .clientArrives(index, request)) }
    if judge.isOver(job) {
      if state != .finished, !isHealed, !clients[index].hasTriedAgain, dice.chance(perMille: 500) {
        clients[index].hasTriedAgain = true
        return ask(.retry(job))
      }
      clients[index].job = nil
      clients[index].wish = nil
    } else if state == .paused {
      if isHealed || dice.chance(perMille: 300) { ask(.control(job, .resume)) }
    } else if !isHealed {
      switch dice.roll(0...999) {
      case 0...3: ask(.control(job, .cancel))
      case 4: ask(.control(job, .kill))
      case 5...24: ask(.control(job, .pause))
      case 25...34: if let process = slots[dice.index(slots.count)].process { ask(.drain(name(processes[process]))) }
      case 35...44: ask(.control(job, .resume))
      default: break
      }
    }
  }

  func clientArrives(_ index: Int, _ request: ClientRequest) {
    let number = RequestID(UInt64(index))
    switch request {
    case .submit:
      guard let wish = clients[index].wish, clients[index].job == nil else { return }
      let key = bug == .keyDropped && dice.chance(perMille: 500) ? "" : clients[index].key
      let record = JobRecord(id: JobID(0), name: clients[index].key, spec: "\(wish)", idempotencyKey: key)
      decide(.submit(number, record, jobPlans[wish].settings))
    case .control(let job, let verb):
      clients[index].asked = (job, verb)
      decide(.control(number, job, verb))
    case .retry(let job):
      guard !isHealed, let plan = self.plan(of: job) else { return }
      clients[index].asked = nil
      decide(.retry(number, job, plan.settings))
    case .drain(let name): decide(.drain(number, name: name))
    }
  }

  /// The coordinator answers; answers get lost.
  func tellClient(_ index: Int, _ answer: Answer) {
    if dice.chance(perMille: isHealed ? 0 : 100) { return }
    after(dice.span(mean: plan.delay), .clientAnswered(index, answer))
  }

  func clientAnswered(_ index: Int, _ answer: Answer) {
    guard case .submitted(let job, _) = answer, clients[index].job == nil, let wish = clients[index].wish else {
      return
    }
    // An answer that was under way since an earlier wish says nothing about this one.
    guard judge.isSubmission(job, named: clients[index].key) else { return }
    clients[index].job = job
    judge.acknowledged(job, key: clients[index].key, plan: wish)
  }
}
