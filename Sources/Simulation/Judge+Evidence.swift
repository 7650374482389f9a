// Who is heard, and what is known of what is missing.
// K1 who was revoked is out of every generation   S8 who has no admitted key is heard by nobody
// S10 a line of a worker that is not in its job's log is counted by the next one that is
import Coordinator
import RunStore
import Worker

extension Judge {
  /// Lines of one process about one job that one coordinator has accounted for.
  struct LineSource: Hashable {
    var process: Int
    var job: JobID
    var life: Int
  }

  /// A message has come through the coordinator's door.
  func heard(_ message: Upward, on connection: Int, world: World) {
    let process = world.processes[world.connections[connection].process]
    if process.isStranger { world.violated("S8", "the coordinator hears somebody without a key: \(message)") }
  }

  /// A member takes in a frame of a generation.
  func heard(_ key: GenerationKey, from sender: Int, _ process: WorkerProcess, world: World) {
    guard world.processes[sender].isStranger || process.run.map({ $0.key == key && !$0.peers.contains(sender) }) == true
    else { return }
    world.violated("S8", "\(world.name(process)) hears somebody who is no member of \(key)")
  }

  /// A line is in its job's log, with what was said about those before it.
  func wrote(_ ordinal: UInt64, of process: Int, _ job: JobID, after gap: LogGaps.Gap?, world: World) {
    let missing: UInt64 =
      switch gap {
      case .missing(let count), .unknown(let count): count
      case nil: 0
      }
    let accounted = lines[LineSource(process: process, job: job, life: world.life), default: 0] + missing + 1
    lines[LineSource(process: process, job: job, life: world.life)] = accounted
    guard accounted != ordinal else { return }
    let name = world.name(world.processes[process])
    world.violated("S10", "\(ordinal) lines of \(name) about \(job) were sent, \(accounted) are written or counted")
  }

  /// The coordinator knows that the key of a worker was revoked: it is out at once, if it has said who it is.
  ///
  /// A coordinator that was started again gives up members that have not said it within 5 s.
  func dismissed(_ process: WorkerProcess, isKnown: Bool, world: World) {
    dismissals[process.serial] = (world.life, world.now)
    if isKnown { checkOut(process, world: world) }
  }

  func checkDismissed(world: World) {
    for (serial, dismissal) in dismissals where dismissal.life == world.life && world.now - dismissal.at > 6_000_000 {
      // Time in which the coordinator did not run counts for nobody.
      guard let coordinator = world.coordinator, !coordinator.isFrozen, coordinator.frozenSince < dismissal.at else {
        continue
      }
      checkOut(world.processes[serial], world: world)
    }
  }

  private func checkOut(_ process: WorkerProcess, world: World) {
    for (id, truth) in jobs {
      guard let open = truth.open, open.members.contains(where: { processOf[$0.worker] == process.serial }) else {
        continue
      }
      world.violated("K1", "\(world.name(process)) was revoked and stays in generation \(open.number) of \(id)")
    }
  }
}
