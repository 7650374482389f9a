// People without a key that is admitted, who know everything else: every name, number and endpoint. They speak in a member's name, to
// the coordinator and to other members. What keeps them out of a real cluster is CURVE, before a byte reaches a parser: a control
// connection is made with an enrolled key or not at all (Authenticator), a frame between members opens with the keys of its
// generation or not at all (MeshKeyring). Here the same two doors are one line each, and the judge stands behind them.
import Coordinator
import RunStore
import Worker

extension World {
  /// Somebody tries.
  func intrude() {
    guard let victim = slots.compactMap({ $0.process.map { self.processes[$0] } }).first(where: { $0.run != nil }),
      let key = victim.run?.key, let rank = victim.run?.assignment.rank, let peers = victim.run?.peers
    else { return }
    let stranger = WorkerProcess(
      serial: processes.count, slot: victim.slot, machine: MemberMachine(limits: MemberMachine.Limits(), at: .zero))
    stranger.isStranger = true
    stranger.isAlive = false
    processes.append(stranger)
    trace("a stranger speaks as \(name(victim))")
    let number = dice.next()
    guard let target = peers.first(where: { $0 != victim.serial }), number & 1 == 0 else {
      return after(3 * dice.span(mean: plan.delay), .knock(stranger: stranger.serial, victim: victim.serial))
    }
    let work = processes[target].work
    let frames: [Frame] = [
      .hello(key, rank: rank), .part(key, round: number >> 2 & 63, rank: rank, sum: number),
      .state(key, step: number >> 2 & 15, hash: number, work: work), .noState(key, work: work),
    ]
    after(dice.span(mean: plan.delay), .frame(to: target, from: stranger.serial, frames[dice.index(4)]))
  }

  /// Somebody wants a connection to the coordinator.
  func knock(_ stranger: Int, as victim: Int) {
    guard let coordinator, !coordinator.isFrozen, bug == .openDoor else { return }
    let number = connections.count
    connections.append(Connection(process: stranger, life: life, upReady: now, downReady: now, inFlight: 1))
    let introduction = Introduction(
      worker: record(processes[victim]), stamp: processes[victim].run.map { Stamp($0.key) }, committedStep: 1_000)
    received(.event(.hello(ConnectionID(UInt64(number)), introduction)), on: number)
  }

  /// Whether a frame opens with the keys of its generation.
  func opens(from sender: Int) -> Bool { bug == .openMesh || !processes[sender].isStranger }
}
