// Evaluation: a deployed model, float or int8, as a fixed list of stages over fixed memory.
// Integer layers are computed in integers, so what is evaluated is what is exported (design 4.2).
// Used by Evaluation/BatchRunner.swift.

public import Quantization

/// Runs a deployed model on batches of any size up to a maximum.
///
/// A sample's logits have the same bits in every batch, at every place, for every number of threads. Not thread safe: one caller,
/// which lends its thread to the pool.
public final class InferenceExecutor {
  /// Called by `run`, on its thread, after each operation.
  public var progress: () -> Void = {}
  /// Most samples of a run.
  public let maximumBatch: Int
  /// Values per sample of the logits.
  public let classCount: Int
  private let pool: ThreadPool
  private let lowered: LoweredInference
  private let program: Program

  /// Lowers a model, packs its weights and plans memory.
  ///
  /// - Parameters:
  ///   - model: folded; float or int8.
  ///   - maximumBatch: samples that memory is planned for, at least 1.
  ///   - pool: runs the stages.
  /// - Throws: `TrainingError.unsupported` when the graph has no output "logits", or holds a BatchNorm.
  public init(model: DeployedModel, maximumBatch: Int, pool: ThreadPool) throws {
    precondition(maximumBatch >= 1, "a batch of \(maximumBatch)")
    self.maximumBatch = maximumBatch
    self.pool = pool
    var lowering = InferenceLowering(model: model, maximumBatch: maximumBatch, threadCount: pool.threadCount)
    lowered = try lowering.lower()
    program = try Program(lowered.builder)
    classCount = lowered.classCount
    for layer in lowered.layers { layer.pack() }
  }

  /// Where the caller puts normalized samples, [maximumBatch, H, W, C].
  public var input: UnsafeMutablePointer<Float> { lowered.input.floats }
  /// Bytes of activations and packed weights together.
  public var arenaByteCount: Int { program.arena.byteCount }

  /// Computes the logits of the first `count` samples of `input`.
  ///
  /// - Parameters:
  ///   - count: 1...maximumBatch.
  ///   - visitor: called on this thread with the name and the values [count, H, W, C] of every node whose value is computed in
  ///     floats, the input included; a sum and the ReLU behind it count as one node, the ReLU.
  /// - Returns: [count, classes]; valid until the next run.
  public func run(
    count: Int, visitor: ((_ node: String, _ values: UnsafeBufferPointer<Float>) -> Void)? = nil
  ) -> UnsafePointer<Float> {
    precondition((1...maximumBatch).contains(count), "\(count) samples; memory is planned for 1...\(maximumBatch)")
    lowered.batch.count = count
    for stage in program.stages.indices {
      program.run(stage: stage, on: pool)
      progress()
      guard let visitor else { continue }
      for visit in lowered.visits where visit.afterStage == stage {
        visitor(visit.node, UnsafeBufferPointer(start: visit.values.floats, count: count * visit.countPerSample))
      }
    }
    return UnsafePointer(lowered.logits.floats)
  }
}
