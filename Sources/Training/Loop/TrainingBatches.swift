// Any part of any global batch: which samples, and their pixels, normalized and augmented.

import Data
import JobSpec

/// Makes training batches on one thread; holds scratch, so it is not shared.
final class TrainingBatches {
  private let sampler: Sampler
  private let assembler: BatchAssembler
  private let stepsPerEpoch: Int
  private let indices: UnsafeMutableBufferPointer<Int32>

  /// Plans batches of the training split.
  ///
  /// - Throws: `DataError.unsuitable` when sampling, normalization or augmentation do not fit the data.
  init(plan: JobPlan, samples: SampleSet) throws {
    let spec = plan.spec
    sampler = try Sampler(
      labels: samples.labels, classNames: plan.data.classNames, sampling: spec.data.sampling,
      batchSize: spec.training.batchSize, seed: spec.seed)
    assembler = try BatchAssembler(
      samples: samples, normalization: spec.data.normalization, augmentation: spec.data.augmentation, seed: spec.seed)
    stepsPerEpoch = plan.stepsPerEpoch
    indices = .allocate(capacity: spec.training.batchSize)
    indices.initialize(repeating: 0)
  }

  deinit { indices.deallocate() }

  /// Writes some slots of the global batch of a step, without allocating.
  func assemble(step: Int, slots: Range<Int>, into batch: BatchLoader.Batch) {
    let (epoch, stepInEpoch) = (step / stepsPerEpoch + 1, step % stepsPerEpoch)
    let own = UnsafeMutableBufferPointer(rebasing: indices[..<slots.count])
    sampler.fill(epoch: epoch, step: stepInEpoch, slots: slots, into: own)
    assembler.assembleTraining(
      indices: UnsafeBufferPointer(own), epoch: epoch, step: stepInEpoch, firstSlot: slots.lowerBound,
      into: batch.input, labels: batch.labels)
  }
}
