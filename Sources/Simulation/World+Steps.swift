// Steps, evaluations and what is due between them. Counterpart of TrainingLoop and Trainer.
import Coordinator
import RunStore
import Worker

extension World {
  /// Does what is due with the steps committed so far, then begins the next.
  func proceed(_ process: WorkerProcess) {
    guard let run = process.run, run.isTraining, !run.isStopped, let step = process.state?.step else { return }
    let milestones = run.plan.milestones
    let isLeader = run.isLeader
    switch run.stage {
    case .checkpoint:
      if isLeader, milestones.wantsCheckpoint(at: Int(step)) {
        guard checkpoint(process, isUrgent: milestones.isEnd(Int(step)), isFinal: milestones.isEnd(Int(step))) else {
          return
        }
      }
      process.run?.stage = .evaluation
      proceed(process)
    case .evaluation:
      process.run?.stage = .end
      guard milestones.evaluation(at: Int(step)) != nil else { return proceed(process) }
      process.run?.operationsLeft = 1 + run.plan.evaluationTime / 500_000
      evaluate(process)
    case .end:
      process.run?.stage = .step
      guard milestones.isEnd(Int(step)) else { return proceed(process) }
      if isLeader, let hash = process.state?.hash { owe(.finished(step: step, hash: hash), insists: true, process) }
      process.run?.isStopped = true
      process.activity = "idle"
      post(.trained(run.key), to: process)
    case .step:
      guard let stop = run.stop, step >= stop.step else { return beginStep(process) }
      if stop.saves, isLeader, bug != .pauseWithoutCheckpoint {
        guard checkpoint(process, isUrgent: true, isFinal: false) else { return }
      }
      process.run?.isStopped = true
      process.activity = stop.saves ? "saving" : "idle"
      if !stop.saves { return stopped(process) }
      after(0, .work(process: process.serial, work: process.work, .delivered))
    }
  }

  /// The training thread leaves its loop where it was told to.
  func stopped(_ process: WorkerProcess) {
    guard let run = process.run, let step = process.state?.step else { return }
    process.activity = "idle"
    post(.stopped(run.key, step: step), to: process)
  }

  /// One operation of half a second; the words change with each, as those of ProgressBoard do.
  private func evaluate(_ process: WorkerProcess) {
    guard let run = process.run else { return }
    process.activity = "evaluating \(run.operationsLeft)"
    let time = run.plan.evaluationTime / (1 + run.plan.evaluationTime / 500_000)
    after(
      time * slots[process.slot].slowness, .work(process: process.serial, work: process.work, .computed))
  }

  private func beginStep(_ process: WorkerProcess) {
    guard let run = process.run, let state = process.state else { return }
    process.activity = "training"
    process.run?.base = state.hash
    let time = run.plan.shardTime * Int64(run.shards.count) * slots[process.slot].slowness
    let computing = time + dice.roll(0...(time / 8))
    process.run?.computing = computing
    after(computing, .work(process: process.serial, work: process.work, .computed))
  }

  /// The number of the exchange under way: an odd one for each step, the even one before it for the evaluation that precedes it.
  private func round(_ process: WorkerProcess) -> UInt64 {
    (process.state?.step ?? 0) * 2 + (process.run?.stage == .step ? 1 : 0)
  }

  func computed(_ process: WorkerProcess) {
    guard let run = process.run, let state = process.state else { return }
    if run.operationsLeft > 0 {
      if run.isToSaveAlone(at: state.step), bug != .evaluationFirst {
        process.run?.operationsLeft = 0
        process.run?.stage = .step
        return proceed(process)
      }
      process.run?.operationsLeft -= 1
      if run.operationsLeft > 1 { return evaluate(process) }
      process.activity = "waiting"
    }
    contribute(Reference.part(state.hash, state.step, run.shards), to: round(process), process)
  }

  /// Every member's part has arrived: here the state changes.
  func completed(_ round: WorkerProcess.Round, _ process: WorkerProcess) {
    guard let run = process.run, let state = process.state else { return }
    let isLeader = run.isLeader
    if run.stage == .end {
      if let epoch = run.plan.milestones.evaluation(at: Int(state.step)) {
        process.evaluated.insert(epoch)
        if isLeader { owe(.epoch(epoch, step: state.step), insists: false, process) }
      }
      return proceed(process)
    }
    process.state?.step += 1
    process.state?.hash = Reference.next(state.hash, sum: round.sum)
    process.run?.stage = .checkpoint
    process.shardMicroseconds = process.run?.clock.note(.microseconds(run.computing)) ?? 0
    counts.steps += 1
    judge.committed(process, run, world: self)
    if isLeader, let connection = process.connection {
      let event = Event.stepped(ConnectionID(UInt64(connection)), Stamp(run.key), step: state.step + 1)
      remember(event, process.slot)
      send(.event(event), from: process)
    }
    proceed(process)
  }

  /// Takes a snapshot and has it delivered; false when it has to be tried again.
  func checkpoint(_ process: WorkerProcess, isUrgent: Bool, isFinal: Bool) -> Bool {
    guard let run = process.run, let state = process.state else { return true }
    if state.step == run.lastCheckpoint, !isFinal { return true }
    if process.isSnapshotTaken {
      if isUrgent {
        process.activity = "saving"
        after(50_000, .work(process: process.serial, work: process.work, .proceed))
      }
      return !isUrgent
    }
    process.run?.lastCheckpoint = state.step
    process.isSnapshotTaken = true
    if isFinal, bug == .finishBeforeCheckpoint {
      owe(.finished(step: state.step, hash: state.hash), insists: true, process)
    }
    owe(.checkpoint(step: state.step, hash: state.hash, isFinal: isFinal), insists: isUrgent, process)
    return true
  }

  /// Keeps a statement for a replay.
  func remember(_ event: Event, _ slot: Int) {
    guard !isHealed, dice.chance(perMille: 100) else { return }
    if oldStatements.count < 32 {
      oldStatements.append((slot, event))
    } else {
      oldStatements[dice.index(32)] = (slot, event)
    }
  }
}
