// What rank 0 owes the coordinator, tried one after the other. Counterpart of Outbox and CheckpointUpload around DeliveryLine.
import Coordinator
import RunStore
import Worker

extension World {
  func owe(_ owed: WorkerProcess.Owed, insists: Bool, _ process: WorkerProcess) {
    guard let key = process.run?.key else { return }
    process.line.add(DeliveryLine.Entry(job: key.job, insists: insists, item: owed))
    after(0, .outbox(process: process.serial))
  }

  func deliverNext(_ process: WorkerProcess) {
    guard process.attempt == nil, now >= process.pausedUntil else { return }
    while true {
      switch process.line.next() {
      case .nothing: return
      case .dropped(let owed): settled(owed, process)
      case .attempt(let owed, let key):
        process.attempt = WorkerProcess.Attempt(owed: owed, key: key)
        return ask(process)
      }
    }
  }

  /// Asks the next request of the delivery under way.
  private func ask(_ process: WorkerProcess) {
    guard let attempt = process.attempt else { return }
    let stamp = Stamp(attempt.key)
    let request: Request
    var patience: Int64 = 10_000_000
    switch attempt.owed {
    case .checkpoint(let step, let hash, let isFinal):
      switch attempt.stage {
      case 0:
        // The files are made: the snapshot's memory is free.
        process.isSnapshotTaken = false
        request = .checkpointBegin(CheckpointOffer(stamp: stamp, step: step, epoch: 1, isFinal: isFinal, hash: hash))
      case 1, 2: request = .filePiece(stamp.job)
      default:
        request = .checkpointCommit(stamp, step: step)
        patience = 60_000_000
      }
    case .epoch(let epoch, let step):
      let record = EpochRecord(
        job: stamp.job, epoch: UInt32(epoch), step: step, generation: stamp.generation, json: "{}", seconds: 1,
        imagesPerSecond: 1)
      request = .report(.epoch(stamp, record))
    case .finished(let step, let hash): request = .report(.finished(stamp, step: step, hash: hash))
    }
    ask(request, process, \.delivery)
    if let number = process.delivery?.number {
      after(patience, .timeout(process: process.serial, request: number))
    }
  }

  func deliveryAnswered(_ reply: Reply, _ process: WorkerProcess) {
    guard let attempt = process.attempt else { return }
    switch reply {
    case .refused(let reason): conclude(.refused(reason: reason), process)
    case .checkpointTaken: conclude(.delivered, process)
    case .acknowledged:
      guard case .checkpoint = attempt.owed else { return conclude(.delivered, process) }
      process.attempt?.stage += 1
      ask(process)
    }
  }

  func conclude(_ outcome: DeliveryOutcome, _ process: WorkerProcess) {
    guard let attempt = process.attempt else { return }
    process.attempt = nil
    process.delivery = nil
    switch process.line.conclude(outcome) {
    case .settled:
      settled(attempt.owed, process)
      after(0, .outbox(process: process.serial))
    case .again(let pause, _):
      process.pausedUntil = now + pause.inMicroseconds
      after(pause.inMicroseconds, .outbox(process: process.serial))
    }
  }

  /// Deliveries of a job that is over are dropped, and what is under way is given up.
  func settle(_ dropped: [WorkerProcess.Owed], _ process: WorkerProcess) {
    for owed in dropped { settled(owed, process) }
    if process.line.isDropping, process.attempt != nil { conclude(.failed, process) }
  }

  private func settled(_ owed: WorkerProcess.Owed, _ process: WorkerProcess) {
    if case .checkpoint = owed { process.isSnapshotTaken = false }
  }
}

extension Duration {
  /// Whole microseconds, rounded down.
  var inMicroseconds: Int64 {
    let (seconds, attoseconds) = components
    return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
  }
}
