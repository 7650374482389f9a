// What rank 0 owes the coordinator: checkpoints, the results of epochs, the end of the job.
import Communication
import Foundation
import JobSpec
import Logging
import Training

extension TrainingLoop {
  /// Why a checkpoint is taken.
  enum CheckpointKind {
    case regular
    case final
    case beforeLeaving
  }

  /// Takes a snapshot and has it delivered in the background.
  ///
  /// A regular one is left out when the one before is still being written: the steps are held up for 50 ms at most.
  func checkpoint(_ step: Int, _ kind: CheckpointKind) throws -> CheckpointUpload? {
    if step == lastCheckpoint, kind != .final { return nil }
    let start = ContinuousClock.now
    guard let snapshot = try snapshot(isUrgent: kind != .regular) else {
      services.log.warning(
        "\(run.key): no checkpoint of step \(step), the one before is still on its way to the coordinator")
      return nil
    }
    let milliseconds = Int(((ContinuousClock.now - start) / .milliseconds(1)).rounded())
    services.log.info("\(run.key): checkpoint of step \(step) held the steps up for \(milliseconds) ms")
    lastCheckpoint = step
    let upload = CheckpointUpload(snapshot, memory: memory, isFinal: kind == .final)
    let coordinator = services.coordinator
    services.outbox.add(
      Delivery(
        name: "the checkpoint of step \(step)", job: run.key.job, insists: kind != .regular,
        attempt: { try upload.attempt($0, coordinator, $1) }, settled: { upload.settle() }))
    return upload
  }

  private func snapshot(isUrgent: Bool) throws -> TrainingState? {
    repeat {
      try run.interruption.check()
      let patience = Duration.milliseconds(50)
      if let copy = memory.snapshots.take(of: trainer.state, plan: memory.plan, patience: patience) { return copy }
      if isUrgent { services.board.activity = .saving }
    } while isUrgent
    return nil
  }

  /// Delivers the result of an epoch.
  func tell(_ metrics: EpochMetrics) throws {
    var result = WireEpochResult()
    result.epoch = UInt32(metrics.epoch)
    result.step = UInt64(metrics.step)
    result.json = try Self.json(metrics)
    result.seconds = memory.clock.seconds(ofEpoch: metrics.epoch, steps: memory.plan.stepsPerEpoch)
    let images = memory.plan.stepsPerEpoch * memory.plan.spec.training.batchSize
    result.imagesPerSecond = result.seconds > 0 ? Double(images) / result.seconds : 0
    let coordinator = services.coordinator
    services.outbox.add(
      Delivery(name: "the result of epoch \(metrics.epoch)", job: run.key.job, insists: false) { [result] key, _ in
        var message = result
        message.job = key.job
        message.generation = key.generation
        return try acknowledged(try coordinator.request(.epochResult(message), timeout: .seconds(10)))
      })
  }

  /// Results that the rank 0 before this one may have taken to its grave; the coordinator ignores those that it has.
  func tellResultsAgain() throws {
    for epoch in memory.results.keys.sorted() {
      if let metrics = memory.results[epoch] { try tell(metrics) }
    }
  }

  /// Delivers the end of the job, after everything else.
  func finish(_ step: Int, _ final: CheckpointUpload) throws {
    var finished = WireJobFinished()
    finished.step = UInt64(step)
    if let metrics = memory.results[milestones.epochs] { finished.json = try Self.json(metrics) }
    let coordinator = services.coordinator
    services.outbox.add(
      Delivery(name: "the end of the job", job: run.key.job, insists: true) { [finished] key, _ in
        var message = finished
        message.job = key.job
        message.generation = key.generation
        message.sha256 = final.stateSHA256
        return try acknowledged(try coordinator.request(.jobFinished(message), timeout: .seconds(10)))
      })
  }

  private static func json(_ metrics: EpochMetrics) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return String(decoding: try encoder.encode(metrics), as: UTF8.self)
  }
}

/// The outcome of a request that is answered with Acknowledged.
func acknowledged(_ reply: WireEnvelope.OneOf_Body?) throws -> Delivery.Outcome {
  guard case .acknowledged = reply else {
    throw CommunicationError(.malformed, "the coordinator answers with another message than Acknowledged")
  }
  return .delivered
}
