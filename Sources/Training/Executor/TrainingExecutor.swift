// Forward and backward of one member's shards of a step, as a fixed list of stages over fixed memory.
//
// Built once per phase: the graph is fused (FusedNode), lowered to stages (TrainingLowering), memory is planned (Arena). A
// step then runs stages and allocates nothing. All samples of the member run as one batch; shards matter only to BatchNorm
// statistics and to the order of sums, which follows the tree of design 4.1 piece by piece.
// Used by Loop/Trainer.swift.

public import Graph

/// Computes losses, gradients, batch statistics and observed ranges of a member's virtual shards.
///
/// One step is `loadWeights` (and `setActivationScales` in the quantized phase), `forward`, `backward`. Sums go to one vector per
/// piece of `assignment`, laid out by `ReductionPlan`; pads and what no parameter owns are never written, so hand in zeroed
/// vectors. Not thread safe: one caller, which lends its thread to the pool.
public final class TrainingExecutor {
  /// The shards computed.
  public let assignment: ShardAssignment
  /// In which numbers.
  public let precision: ExecutionPrecision
  private let reduction: ReductionPlan
  private let pool: ThreadPool
  private let lowered: LoweredTraining
  let program: Program
  private var step: StepInputs { lowered.step }

  /// Lowers a graph and plans its memory.
  ///
  /// - Parameters:
  ///   - graph: has an output "logits" of one pixel. For `.quantized` and `.calibration` the quantized phase's graph.
  ///   - layout: of that graph's parameters.
  ///   - reduction: of that graph and layout; gives the observers their order.
  ///   - assignment: the shards of this member.
  ///   - precision: in which numbers to compute.
  ///   - pool: runs the stages; results do not depend on its size.
  ///   - sharing: with whom the loading of weights is shared; nil with nobody. No result depends on it.
  /// - Throws: `TrainingError.unsupported` when the graph has no output "logits", a parameter that the loss does not reach, or
  ///   a BatchNorm over a single value per shard; what `sharing` throws.
  public init(
    graph: Graph, layout: ParameterLayout, reduction: ReductionPlan, assignment: ShardAssignment,
    precision: ExecutionPrecision, pool: ThreadPool, sharing: LoadSharing? = nil
  ) throws {
    self.assignment = assignment
    self.precision = precision
    self.reduction = reduction
    self.pool = pool
    var lowering = TrainingLowering(
      graph: graph, layout: layout, reduction: reduction, assignment: assignment, precision: precision,
      threadCount: pool.threadCount, sharing: sharing.map { ProgramSharing($0) })
    lowered = try lowering.lower()
    program = try Program(lowered.builder)
  }

  /// Normalized samples in shard order, [samples, H, W, C], read by `forward`.
  ///
  /// Points to memory of the executor; a caller that assembles batches elsewhere may set it to its own buffer instead.
  public var input: UnsafeMutablePointer<Float> {
    get { step.input }
    set { step.input = newValue }
  }

  /// Classes of the samples, [samples], read by `forward` and `backward`; may be set as `input` may.
  public var labels: UnsafeMutablePointer<Int32> {
    get { step.labels }
    set { step.labels = newValue }
  }

  /// The last forward pass's logits, [samples, classes].
  public var logits: UnsafePointer<Float> { UnsafePointer(lowered.logits.floats) }
  /// Classes of the logits.
  public var classCount: Int { lowered.classCount }
  /// Bytes of activations, gradients, packed weights and scratch together.
  public var arenaByteCount: Int { program.arena.byteCount }
  /// Bytes of what lives only during a step, at its peak: activations, their gradients and scratch, sharing memory where they can.
  ///
  /// Packed weights, BatchNorm parameters and logits, which live longer, are not counted, nor is the batch.
  public var activationByteCount: Int { program.arena.transientByteCount }
  /// Bytes of what the forward pass leaves for the backward pass.
  public var savedByteCount: Int {
    let boundary = lowered.backwardStages.lowerBound
    let saved = lowered.builder.tensors.filter {
      $0.lifetime == .transient && $0.firstStage < boundary && $0.lastStage >= boundary
    }
    return saved.reduce(0) { $0 + $1.byteCount }
  }
  /// How long `loadWeights` has waited for the members that share it, in all calls.
  var waitingTime: Duration { program.sharing?.waitingTime ?? .zero }
  /// Where the stages note their time.
  var profile: StepProfile? {
    get { program.profileSlot.profile }
    set { program.profileSlot.profile = newValue }
  }

  /// Takes over the weights: rounds them to half in FP16, to integers where weights are quantized, and packs what kernels do
  /// not take as it lies.
  ///
  /// - Parameter flat: `ParameterLayout.parameterElementCount` Floats, read until the last `forward` and `backward` with these
  ///   weights have returned.
  /// - Throws: what `sharing` throws when another member is lost.
  public func loadWeights(flat: UnsafePointer<Float>) throws {
    step.weights = flat
    program.run(lowered.loadStages, on: pool)
    try program.sharing?.check()
  }

  /// Sets the scale of every fake-quantized activation, by observer index; used by the next `forward`.
  public func setActivationScales(_ scales: UnsafePointer<Float>) {
    for index in step.activationScales.indices { step.activationScales[index] = scales[index] }
  }

  /// Normalizes by these running statistics from now on instead of by those of each shard (frozen BatchNorm); `nil` undoes it.
  ///
  /// - Parameter buffers: in ParameterLayout's buffer order; read by every `forward`, so it must stay valid.
  public func setFrozenStatistics(_ buffers: UnsafePointer<Float>?) { step.frozenStatistics = buffers }

  /// Forward pass: fills loss sum, correct count and BatchNorm statistics of every piece.
  ///
  /// With frozen statistics the batch statistics' places hold the running ones.
  /// - Parameters:
  ///   - labelSmoothing: 0..<1.
  ///   - pieces: `ReductionPlan.sumCount` Floats for each piece of the assignment, ascending.
  ///   - maxima: `ReductionPlan.maximumCount` Floats, overwritten with the ranges of the values that fake-quantize nodes saw;
  ///     written in the quantized and calibration precisions only.
  public func forward(
    labelSmoothing: Float, pieces: [UnsafeMutablePointer<Float>], maxima: UnsafeMutablePointer<Float>?
  ) {
    precondition(precision != .calibration, "an executor for calibration has no loss; call forwardForCalibration")
    bind(pieces)
    step.labelSmoothing = labelSmoothing
    step.maxima = maxima
    program.run(lowered.forwardStages, on: pool)
  }

  /// Forward pass that only observes: float arithmetic, batch statistics, fake-quantize nodes pass values through.
  ///
  /// - Parameter maxima: as in `forward`.
  public func forwardForCalibration(maxima: UnsafeMutablePointer<Float>) {
    precondition(precision == .calibration, "an executor for \(precision.rawValue) does not calibrate")
    step.maxima = maxima
    program.run(lowered.forwardStages, on: pool)
  }

  /// Backward pass of the last forward: gradients of the mean loss over the global batch, times `lossScale`.
  ///
  /// - Parameters:
  ///   - lossScale: factor on the loss; 1 outside the FP16 phase.
  ///   - pieces: the vectors given to `forward`.
  ///   - completed: called on this thread, in ascending order, once for every bucket of `ReductionPlan.buckets`, as soon as
  ///     every piece's elements of the bucket are final.
  public func backward(
    lossScale: Float, pieces: [UnsafeMutablePointer<Float>], completed: (_ bucket: Int) -> Void
  ) {
    precondition(precision != .calibration, "an executor for calibration has no backward pass")
    bind(pieces)
    step.gradientScale = lossScale / Float(assignment.globalBatchSize)
    var bucket = 0
    // The others may change what is shared once they have all buckets: the last one waits until nothing is read any more.
    let early = reduction.buckets.count - (program.sharing == nil ? 0 : 1)
    for stage in lowered.backwardStages {
      while bucket < early, lowered.completionStages[bucket] <= stage {
        completed(bucket)
        bucket += 1
      }
      program.run(stage: stage, on: pool)
    }
    while bucket < reduction.buckets.count {
      completed(bucket)
      bucket += 1
    }
  }

  /// Fills transient memory with NaN patterns; for tests that a step reads only what it wrote.
  func poisonTransientMemory() { program.arena.poisonTransientMemory() }

  /// Shortest time of every forward and backward stage, in order, with the inputs as they are; for tuning.
  ///
  /// - Parameter now: reads a clock; the processor time of the thread tells more than real time on a busy machine.
  func profile(repetitions: Int, now: () -> Double) -> [(label: String, time: Double)] {
    let stages = lowered.forwardStages.lowerBound..<program.stages.count
    var shortest = [Double](repeating: .infinity, count: program.stages.count)
    for _ in 0..<repetitions {
      for stage in stages {
        let start = now()
        program.run(stage: stage, on: pool)
        shortest[stage] = min(shortest[stage], now() - start)
      }
    }
    return stages.map { (program.stages[$0].label, shortest[$0]) }
  }

  private func bind(_ pieces: [UnsafeMutablePointer<Float>]) {
    precondition(
      pieces.count == assignment.pieces.count,
      "\(pieces.count) sum vectors for \(assignment.pieces.count) pieces of shards \(assignment.shards)")
    for table in lowered.pieceTables { table.bind(pieces) }
  }
}
