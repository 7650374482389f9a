// A worker's training thread: from the order to form to the last step. Counterpart of MemberRunner, StateTransfer and TrainingLoop; what
// is due after which step is decided by the product's Milestones.
import Coordinator
import RunStore
import Worker

extension World {
  // MARK: Orders

  func form(_ assignment: Assignment, _ process: WorkerProcess) {
    guard let index = Int(assignment.spec) else { return }
    process.work += 1
    var shards = assignment.peers[assignment.rank].shards
    if bug == .staleShards, let last = process.lastShards, process.run == nil, dice.chance(perMille: 300) {
      shards = last
    }
    process.lastShards = assignment.peers[assignment.rank].shards
    process.run = WorkerProcess.Run(
      assignment: assignment, plan: jobPlans[index], reference: references[index],
      peers: assignment.peers.map { Int($0.dataEndpoint) ?? 0 }, shards: shards,
      clock: ShardClock(shardCount: shards.count))
    process.runBegan = now
    process.rounds = []
    process.fetch = nil
    process.standby = nil
    settle(process.line.enter(assignment.key), process)
    // The thread may still be leaving what was interrupted.
    after(dice.span(mean: 20_000), .work(process: process.serial, work: process.work, .form))
    if bug == .staleEvidence, let rank = process.lastLoss, dice.chance(perMille: 500) {
      post(.peerLost(assignment.key, rank: rank, evidence: "link closed"), to: process, after: 500_000)
    }
  }

  func synchronize(_ key: GenerationKey, _ target: Synchronization, _ process: WorkerProcess) {
    guard process.run?.key == key else { return }
    process.run?.target = target
    let spec = UInt64(process.run?.assignment.spec ?? "") ?? 0
    if process.dataset == spec { return obtain(process) }
    if process.state?.job != key.job { process.state = nil }
    process.activity = "loading data"
    let pieceCount = process.run?.plan.pieceCount ?? 0
    process.run?.piecesLeft = pieceCount
    ask(.fetchPiece, process, \.fetch)
  }

  func train(_ key: GenerationKey, _ process: WorkerProcess) {
    guard let run = process.run, run.key == key, let state = process.state else { return }
    process.run?.isTraining = true
    process.shardMicroseconds = 0
    if run.startsFromCheckpoint { process.run?.lastCheckpoint = state.step }
    judge.trains(process, key, from: state.step, world: self)
    if run.assignment.rank == 0 {
      for epoch in process.evaluated.sorted() { owe(.epoch(epoch, step: state.step), insists: false, process) }
    }
    after(0, .work(process: process.serial, work: process.work, .proceed))
  }

  func saveAndStop(_ key: GenerationKey, _ process: WorkerProcess) {
    guard process.run?.key == key else { return }
    process.run?.requestStop(at: 0, saves: true)
    after(0, .work(process: process.serial, work: process.work, .saved))
  }

  /// Gets the data of a job that goes on meanwhile.
  func standBy(_ order: StandbyOrder, _ process: WorkerProcess) {
    guard let spec = UInt64(order.spec) else { return }
    process.work += 1
    process.fetch = nil
    if process.state?.job != order.job { process.state = nil }
    let count = process.dataset == spec ? 0 : jobPlans[Int(spec)].pieceCount
    process.standby = (order.job, spec, count)
    process.activity = "loading data"
    warmUp(process)
  }

  private func warmUp(_ process: WorkerProcess) {
    guard let standby = process.standby else { return }
    if standby.piecesLeft > 0 { return ask(.fetchPiece, process, \.fetch) }
    process.dataset = standby.spec
    process.activity = "idle"
    post(.warmed(job: standby.job), to: process)
  }

  func interrupt(_ process: WorkerProcess) {
    if bug == .doubleCommit, let run = process.run, let round = process.rounds.first, round.number & 1 == 1,
      process.state?.hash == run.base
    {
      process.state?.hash &+= round.sum
    }
    if bug == .amnesia { process.state = nil }
    process.work += 1
    process.activity = "idle"
    process.fetch = nil
    process.rounds = []
    loseLinks(of: process, after: 0)
  }

  func drop(_ job: UInt64, _ process: WorkerProcess) {
    settle(process.line.drop(), process)
    if process.standby?.job == job {
      process.standby = nil
      process.work += 1
      process.fetch = nil
      process.activity = "idle"
    }
    guard process.state?.job == job || process.witnessed.job == job else { return }
    process.state = nil
    process.evaluated = []
    process.witnessed = (0, 0)
  }

  // MARK: Tasks

  func work(_ work: Work, _ process: WorkerProcess) {
    if case .piece = work, process.standby?.piecesLeft ?? 0 > 0 {
      process.standby?.piecesLeft -= 1
      return warmUp(process)
    }
    guard let run = process.run else { return }
    switch work {
    case .form: begin(process)
    case .formTimeout: if !run.isFormed { accuseNobody(process) }
    case .piece: pieceArrived(process)
    case .obtained(let step, let hash): obtained(step, hash, process)
    case .fetchTimeout: if run.target != nil { accuseNobody(process) }
    case .proceed: proceed(process)
    case .computed: computed(process)
    case .delivered:
      guard process.line.isEmpty else {
        return after(20_000, .work(process: process.serial, work: process.work, .delivered))
      }
      stopped(process)
    case .saved:
      if run.isStopped, !run.isLeader || checkpoint(process, isUrgent: true, isFinal: false), process.line.isEmpty {
        post(.saved(run.key), to: process)
      } else {
        after(20_000, .work(process: process.serial, work: process.work, .saved))
      }
    }
  }

  private func begin(_ process: WorkerProcess) {
    guard let run = process.run else { return }
    process.activity = "synchronizing"
    process.run?.linked |= 1 << UInt64(run.assignment.rank)
    for (rank, peer) in run.peers.enumerated() where rank != run.assignment.rank {
      send(.hello(run.key, rank: run.assignment.rank), from: process, to: peer)
    }
    for hello in process.hellos where hello.key == run.key { process.run?.linked |= 1 << UInt64(hello.rank) }
    process.hellos.removeAll { $0.key.job == run.key.job && $0.key <= run.key }
    after(10_000_000, .work(process: process.serial, work: process.work, .formTimeout))
    formedIfComplete(process)
  }

  func formedIfComplete(_ process: WorkerProcess) {
    guard let run = process.run, !run.isFormed, !process.isHung, run.linked & 1 << UInt64(run.assignment.rank) != 0,
      run.linked == (UInt64(1) << UInt64(run.peers.count)) - 1
    else { return }
    process.run?.isFormed = true
    process.activity = "idle"
    let step = process.state?.job == run.key.job ? process.state?.step : nil
    post(.formed(run.key, step: step), to: process)
  }

  private func pieceArrived(_ process: WorkerProcess) {
    guard let run = process.run, run.piecesLeft > 0 else { return }
    process.run?.piecesLeft -= 1
    if run.piecesLeft > 1 { return ask(.fetchPiece, process, \.fetch) }
    let spec = UInt64(run.assignment.spec) ?? 0
    if process.dataset != spec {
      process.dataset = spec
      obtain(process)
    } else {
      readCheckpoint(process)
    }
  }

  private func obtain(_ process: WorkerProcess) {
    guard let run = process.run, let target = run.target else { return }
    process.activity = "synchronizing"
    if let state = process.state, state.job == run.key.job, state.step == target.step {
      return after(
        1_000, .work(process: process.serial, work: process.work, .obtained(step: state.step, hash: state.hash)))
    }
    switch target.source {
    case .initialize:
      let initial = Work.obtained(step: 0, hash: run.reference.initial)
      after(dice.span(mean: 100_000), .work(process: process.serial, work: process.work, initial))
    case .checkpoint:
      process.run?.startsFromCheckpoint = true
      process.run?.piecesLeft = 2
      ask(.fetchPiece, process, \.fetch)
    case .peer(let rank):
      guard run.peers.indices.contains(rank) else { return }
      send(
        .fetchState(run.key, step: target.step, from: process.serial, work: process.work), from: process,
        to: run.peers[rank])
      after(60_000_000, .work(process: process.serial, work: process.work, .fetchTimeout))
    }
  }

  private func readCheckpoint(_ process: WorkerProcess) {
    guard let run = process.run else { return }
    let entry = disk.checkpoints[JobID(run.key.job)]?.first { $0.record.name == run.assignment.checkpoint }
    guard let entry, entry.isWhole else {
      return accuseNobody(process)
    }
    obtained(entry.record.step, entry.hash, process)
  }

  private func obtained(_ step: UInt64, _ hash: UInt64, _ process: WorkerProcess) {
    guard let run = process.run, let target = run.target, process.activity == "synchronizing" else { return }
    process.state = WorkerProcess.State(job: run.key.job, step: step, hash: hash)
    process.activity = "idle"
    judge.holds(process, run, world: self)
    post(step == target.step ? .synchronized(run.key, step: step) : mismatch(run.key), to: process)
    // The state is here: a time-out of the fetch means nothing any more.
    process.run?.target = nil
  }

  private func mismatch(_ key: GenerationKey) -> MemberEvent {
    .failed(key, JobFailure(message: "the state is of another step", exitCode: 65))
  }
}
