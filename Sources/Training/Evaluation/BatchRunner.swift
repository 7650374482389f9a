// Samples in, logits out: an inference executor with the assembly of its batches.

import Data
import JobSpec
import Quantization

/// Runs a model on samples of a split as they are, without augmentation.
final class BatchRunner {
  /// Most samples that `run` takes at once.
  let batchSize: Int
  private let executor: InferenceExecutor
  private let assembler: BatchAssembler
  private let classCount: Int
  private var labels: [Int32]

  /// - Parameter progress: called after each operation of the model.
  init(
    model: DeployedModel, samples: SampleSet, spec: JobSpec, pool: ThreadPool, progress: @escaping () -> Void = {}
  ) throws {
    batchSize = spec.evaluation.batchSize
    classCount = model.classNames.count
    executor = try InferenceExecutor(model: model, maximumBatch: batchSize, pool: pool)
    executor.progress = progress
    assembler = try BatchAssembler(
      samples: samples, normalization: spec.data.normalization, augmentation: JobSpec.Augmentation(), seed: 0)
    labels = [Int32](repeating: 0, count: batchSize)
  }

  /// Logits [indices.count, classes] of some samples.
  func run(_ indices: [Int32]) -> UnsafeBufferPointer<Float> {
    assemble(indices)
    return UnsafeBufferPointer(start: executor.run(count: indices.count), count: indices.count * classCount)
  }

  /// Shows the values of every node to a visitor.
  func run(_ indices: [Int32], visitor: @escaping (_ node: String, _ values: UnsafeBufferPointer<Float>) -> Void) {
    assemble(indices)
    _ = executor.run(count: indices.count, visitor: visitor)
  }

  private func assemble(_ indices: [Int32]) {
    indices.withUnsafeBufferPointer { indices in
      labels.withUnsafeMutableBufferPointer { labels in
        guard let labels = labels.baseAddress else { return }
        assembler.assemble(indices: indices, into: executor.input, labels: labels)
      }
    }
  }
}
