// Evaluation by all members together.

import Data
import JobSpec
import Quantization

extension Trainer {
  /// Evaluates the test split: the float model and, once there are scales, the int8 model.
  ///
  /// Each rank computes some blocks of the split; the logits are gathered, so every rank returns the same metrics.
  ///
  /// - Parameters:
  ///   - reducer: gathers over all members; every rank calls with its own.
  ///   - check: asked before each batch; what it throws ends the evaluation.
  ///   - progress: told how far this rank's own blocks are.
  /// - Throws: what the reducer throws when a member is lost, and what `check` throws.
  public func evaluate(
    _ reducer: any Reducer, check: () throws -> Void = {}, progress: @escaping (EvaluationProgress) -> Void = { _ in }
  ) throws -> EpochMetrics {
    let step = state.committedStep
    let phase = plan.phase(atStep: max(0, step - 1))
    return EpochMetrics(
      epoch: phase.epoch, step: step, phase: phase.precision, usesWeightAverage: state.average != nil,
      float: try metrics(of: state.floatModel(plan: plan), reducer, check, progress),
      int8: state.isQuantized ? try metrics(of: state.quantizedModel(plan: plan), reducer, check, progress) : nil)
  }

  private func metrics(
    of model: DeployedModel, _ reducer: any Reducer, _ check: () throws -> Void,
    _ progress: @escaping (EvaluationProgress) -> Void
  ) throws -> ClassificationMetrics {
    let samples = dataset.test
    let classCount = plan.data.classNames.count
    let blocks = Evaluation.ranges(
      sampleCount: samples.count, batchSize: plan.spec.evaluation.batchSize, worldSize: ranges.count)
    let own = try Evaluation.logits(
      of: model, on: samples, range: blocks[rank], spec: plan.spec, pool: pool, check: check,
      progress: { progress(.computed) })
    progress(.waiting)
    let bytes = try own.withUnsafeBytes { own in
      try reducer.gather(own, byteCounts: blocks.map { $0.count * classCount * MemoryLayout<Float>.size })
    }
    let logits = bytes.withUnsafeBytes { bytes in
      (0..<samples.count * classCount).map {
        bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Float>.size, as: Float.self)
      }
    }
    return ClassificationMetrics(
      Predictions(logits: logits, labels: samples.labels, classCount: classCount), classNames: plan.data.classNames,
      rareClasses: plan.spec.data.rareClasses)
  }
}

/// How far a member is in an evaluation.
public enum EvaluationProgress: Sendable {
  /// One more operation of the model is done.
  case computed
  /// Its own part is done; it waits for those of the others.
  case waiting
}
