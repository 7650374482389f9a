// What workers want to have in the job's log: numbered, sent, lost, written. Counterpart of LogForwarding and CoordinatorCore.takeLog
// around the product's LogGaps.
import Coordinator
import RunStore
import Worker

extension World {
  /// A worker passes a line on, if it has a job; without a connection the line is lost.
  func forwardLine(_ process: WorkerProcess) {
    guard let job = process.logJob.map(JobID.init) else { return }
    let ordinal = process.lines[job, default: 0] + 1
    process.lines[job] = ordinal
    var number = ordinal
    if bug == .linesRenumbered {
      if process.numbered.connection != process.connection { process.numbered = (process.connection, 0) }
      process.numbered.last += 1
      number = process.numbered.last
    }
    send(.line(job, number: number, ordinal: ordinal), from: process)
  }

  /// A line arrives at the coordinator.
  func takeLine(_ job: JobID, number: UInt64, ordinal: UInt64, on connection: Int) {
    decide(.transferred(ConnectionID(UInt64(connection))))
    guard let coordinator, let worker = coordinator.board.worker(on: ConnectionID(UInt64(connection))),
      coordinator.board.record(of: job) != nil
    else { return }
    let gap = coordinator.gaps.gap(before: number, of: worker.incarnation, job)
    let isWritten = !disk.isFull || dice.chance(perMille: 300)
    if isWritten || bug == .unwrittenCounted {
      coordinator.gaps.wrote(number, count: 1, of: worker.incarnation, job)
    }
    guard isWritten else { return trace("the disk does not take a line of \(worker.name)") }
    if let gap { trace("log of \(job): [\(worker.name)] \(gap.text)") }
    judge.wrote(ordinal, of: connections[connection].process, job, after: gap, world: self)
  }
}
