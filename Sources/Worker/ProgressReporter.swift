// Rank 0 tells the coordinator how the steps go: at most five times a second, and nobody waits for it.
import Communication
import JobSpec
import Training

/// Turns step reports into StepProgress messages; used on the training thread only.
final class ProgressReporter {
  private static let interval = Duration.milliseconds(200)
  /// The time over which images per second are averaged.
  private static let window = Duration.seconds(2)

  private let tell: @Sendable (WireEnvelope) -> Void
  private let batchSize: Int
  private var message = WireStepProgress()
  private var lastSent: ContinuousClock.Instant?
  private var windowStart: ContinuousClock.Instant
  private var windowSteps = 0
  private var accuracySum = 0.0
  private var epochSteps = 0

  init(run: GenerationRun, plan: JobPlan, tell: @escaping @Sendable (WireEnvelope) -> Void) {
    self.tell = tell
    batchSize = plan.spec.training.batchSize
    windowStart = .now
    message.job = run.key.job
    message.generation = run.key.generation
    message.epochs = UInt32(plan.spec.training.epochs)
    message.stepsPerEpoch = UInt64(plan.stepsPerEpoch)
    message.workers = UInt32(run.assignment.peers.count)
  }

  /// Takes in a committed step.
  func note(_ report: StepReport) {
    let now = ContinuousClock.now
    windowSteps += 1
    epochSteps += 1
    accuracySum += Double(report.accuracy)
    if lastSent.map({ now - $0 >= Self.interval }) ?? true || report.endsEpoch {
      send(report, now)
      lastSent = now
    }
    if now - windowStart >= Self.window {
      windowStart = now
      windowSteps = 0
    }
    if report.endsEpoch {
      accuracySum = 0
      epochSteps = 0
    }
  }

  /// After an evaluation: its time does not count.
  func resume() {
    windowStart = .now
    windowSteps = 0
  }

  private func send(_ report: StepReport, _ now: ContinuousClock.Instant) {
    let seconds = (now - windowStart).inSeconds
    message.step = UInt64(report.step)
    message.epoch = UInt32(report.epoch)
    message.phase = report.precision.rawValue
    message.loss = Double(report.loss)
    // A window that has just begun says nothing about the rate: the last one stands.
    if seconds > 0, windowSteps > 1 || message.imagesPerSecond == 0 {
      message.imagesPerSecond = Double(windowSteps * batchSize) / seconds
    }
    message.learningRate = report.learningRate
    message.accuracy = accuracySum / Double(epochSteps)
    message.lossScale = Double(report.lossScale)
    var envelope = WireEnvelope()
    envelope.stepProgress = message
    tell(envelope)
  }
}
