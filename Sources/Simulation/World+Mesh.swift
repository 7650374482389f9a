// The links between the members of a generation. Counterpart of PeerMesh: formed anew for each generation, any loss ends it, frames of
// another generation are dropped.
import Coordinator
import RunStore
import Worker

extension World {
  /// A member sends to another; while links are blocked, frames wait.
  func send(_ frame: Frame, from process: WorkerProcess, to other: Int) {
    let target = processes[other].slot
    let free = max(now, slots[process.slot].meshBlockedUntil, slots[target].meshBlockedUntil)
    counts.messages += 1
    queue.push(.frame(to: other, from: process.serial, frame), at: free + dice.span(mean: plan.delay))
    if !isHealed, dice.chance(perMille: 20) {
      if oldFrames.count < 32 {
        oldFrames.append((target, process.serial, frame))
      } else {
        oldFrames[dice.index(32)] = (target, process.serial, frame)
      }
    }
  }

  /// Every peer finds its link to this process broken.
  func loseLinks(of process: WorkerProcess, after delay: Int64) {
    guard let run = process.run else { return }
    process.run = nil
    for (rank, peer) in run.peers.enumerated() where rank != run.assignment.rank {
      after(
        delay + dice.span(mean: plan.delay),
        .linkLost(process: peer, run.key, rank: run.assignment.rank))
    }
  }

  func linkLost(_ key: GenerationKey, rank: Int, _ process: WorkerProcess) {
    guard process.run?.key == key else { return }
    process.lastLoss = rank
    tell(.peerLost(key, rank: rank, evidence: "link closed"), to: process)
  }

  func received(_ frame: Frame, from sender: Int, _ process: WorkerProcess) {
    judge.heard(frame.key, from: sender, process, world: self)
    switch frame {
    case .hello(let key, let rank):
      if process.run?.key == key {
        process.run?.linked |= 1 << UInt64(rank)
        formedIfComplete(process)
      } else if process.run.map({ $0.key.job != key.job || $0.key < key }) ?? true {
        if process.hellos.count == 256 { process.hellos.removeFirst() }
        process.hellos.append((key, rank))
      }
    case .part(let key, let number, let rank, let sum):
      let isCurrent = process.run?.key == key
      guard isCurrent || (bug == .meshWithoutFence && process.run?.key.job == key.job) else { return }
      add(sum, rank: rank, to: number, process)
    case .fetchState(let key, let step, let from, let work): serveState(key, step: step, from: from, work, process)
    case .state(let key, let step, let hash, let work):
      guard process.run?.key == key, process.work == work else { return }
      after(0, .work(process: process.serial, work: work, .obtained(step: step, hash: hash)))
    case .noState(let key, let work):
      guard process.run?.key == key, process.work == work else { return }
      accuseNobody(process)
    }
  }

  /// A member serves its state while everybody waits for the start.
  private func serveState(_ key: GenerationKey, step: UInt64, from other: Int, _ work: Int, _ process: WorkerProcess) {
    guard let run = process.run, run.key == key else { return }
    let isServed = bug == .wrongSource || !run.isTraining && process.state?.step == step
    guard let state = process.state, state.job == key.job, isServed else {
      return send(.noState(key, work: work), from: process, to: other)
    }
    // Transfer takes time.
    let hash = state.hash
    let frame = Frame.state(key, step: step, hash: hash, work: work)
    queue.push(
      .frame(to: other, from: process.serial, frame),
      at: max(now, slots[process.slot].meshBlockedUntil) + dice.span(mean: 300_000))
  }

  /// Something between members went wrong, and nobody knows whose fault it is: this member names itself.
  func accuseNobody(_ process: WorkerProcess) {
    guard let run = process.run else { return }
    post(
      .peerLost(run.key, rank: run.assignment.rank, evidence: "no answer between members"), to: process)
  }

  private func add(_ sum: UInt64, rank: Int, to number: UInt64, _ process: WorkerProcess) {
    let index: Int
    if let known = process.rounds.firstIndex(where: { $0.number == number }) {
      index = known
    } else {
      process.rounds.append(WorkerProcess.Round(number: number))
      index = process.rounds.count - 1
    }
    // What came before is not added again.
    guard process.rounds[index].ranks & 1 << UInt64(rank) == 0 else { return }
    process.rounds[index].ranks |= 1 << UInt64(rank)
    process.rounds[index].sum &+= sum
    roundIsComplete(process, number)
  }

  /// This member has computed its part of a round.
  func contribute(_ sum: UInt64, to number: UInt64, _ process: WorkerProcess) {
    guard let run = process.run else { return }
    for (rank, peer) in run.peers.enumerated() where rank != run.assignment.rank {
      send(.part(run.key, round: number, rank: run.assignment.rank, sum: sum), from: process, to: peer)
    }
    add(sum, rank: run.assignment.rank, to: number, process)
  }

  private func roundIsComplete(_ process: WorkerProcess, _ number: UInt64) {
    guard let run = process.run, let round = process.rounds.first(where: { $0.number == number }) else { return }
    let all = (UInt64(1) << UInt64(run.peers.count)) - 1
    guard round.ranks == all, !process.isHung else { return }
    process.rounds.removeAll { $0.number <= number }
    completed(round, process)
  }
}
