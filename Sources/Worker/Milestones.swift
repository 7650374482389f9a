// Which steps are followed by a checkpoint, an evaluation, the end of the job: a function of the spec and the step alone, so every
// member of every generation agrees without a word, also when it starts at such a step.
import JobSpec

/// What is due when a number of steps is committed.
package struct Milestones: Sendable, Hashable {
  /// Steps of an epoch.
  package let stepsPerEpoch: Int
  /// Epochs of the job.
  package let epochs: Int
  /// Checkpoints, from the spec.
  let checkpointEveryEpochs: Int
  /// Checkpoints inside epochs, from the spec.
  let checkpointEverySteps: Int
  /// Evaluations, from the spec.
  let evaluateEveryEpochs: Int

  package init(
    stepsPerEpoch: Int, epochs: Int, checkpointEveryEpochs: Int, checkpointEverySteps: Int, evaluateEveryEpochs: Int
  ) {
    self.stepsPerEpoch = stepsPerEpoch
    self.epochs = epochs
    self.checkpointEveryEpochs = checkpointEveryEpochs
    self.checkpointEverySteps = checkpointEverySteps
    self.evaluateEveryEpochs = evaluateEveryEpochs
  }

  init(_ spec: JobSpec, stepsPerEpoch: Int) {
    self.init(
      stepsPerEpoch: stepsPerEpoch, epochs: spec.training.epochs, checkpointEveryEpochs: spec.checkpoint.everyEpochs,
      checkpointEverySteps: spec.checkpoint.everySteps, evaluateEveryEpochs: spec.evaluation.everyEpochs)
  }

  /// Steps of the job.
  package var totalSteps: Int { stepsPerEpoch * epochs }

  /// The epoch, counted from 1, that ends with `step` committed steps; nil inside an epoch and at the very beginning.
  package func epochEnding(at step: Int) -> Int? {
    step > 0 && step % stepsPerEpoch == 0 ? step / stepsPerEpoch : nil
  }

  /// Whether the job is done.
  package func isEnd(_ step: Int) -> Bool { step == totalSteps }

  /// Whether a checkpoint is due.
  package func wantsCheckpoint(at step: Int) -> Bool {
    guard step > 0 else { return false }
    if isEnd(step) { return true }
    if checkpointEverySteps > 0, step % checkpointEverySteps == 0 { return true }
    guard let epoch = epochEnding(at: step), checkpointEveryEpochs > 0 else { return false }
    return epoch % checkpointEveryEpochs == 0
  }

  /// The epoch whose evaluation is due, nil if none is.
  package func evaluation(at step: Int) -> Int? {
    guard let epoch = epochEnding(at: step) else { return nil }
    return isEnd(step) || (evaluateEveryEpochs > 0 && epoch % evaluateEveryEpochs == 0) ? epoch : nil
  }
}
