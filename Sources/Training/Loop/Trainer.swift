// One member of a job: what a step does, in order. The main path is `step`; read it first.
//
// Everything a step computes before `commit` goes to scratch, so a reduction that fails (a member was lost) leaves the state
// as it was, and the step can be made again by other members.

public import Data
import Graph
import JobSpec
import Kernels
import Quantization

/// Trains one member's virtual shards of every global batch; every member ends each step in the same state.
///
/// Not thread safe: one thread calls it, and lends itself to the pool.
public final class Trainer {
  /// The job.
  public let plan: JobPlan
  /// The state that steps change.
  public let state: TrainingState
  let dataset: InMemoryDataset
  let ranges: [Range<Int>]
  let rank: Int
  let pool: ThreadPool
  private let assignment: ShardAssignment
  private let loader: BatchLoader
  private let buffers: StepBuffers
  private let update: StateUpdate
  private var executor: TrainingExecutor?
  /// What the last step took until this member had nothing left to do but wait for the others, without waiting before that.
  public private(set) var lastComputeTime = Duration.zero

  /// Prepares one member.
  ///
  /// - Parameters:
  ///   - plan: the job.
  ///   - state: changed in place by `step`.
  ///   - dataset: what the plan was made for.
  ///   - ranges: the virtual shards of every rank, ascending, together 0..<V.
  ///   - rank: this member's place in `ranges`.
  ///   - threads: threads to compute with, this one included; no result depends on it.
  ///   - makeVector: makes the vectors that the reducer gets; ordinary memory by default.
  /// - Throws: `TrainingError.invalidData` when the data set is not the plan's.
  public init(
    plan: JobPlan, state: TrainingState, dataset: InMemoryDataset, ranges: [Range<Int>], rank: Int, threads: Int,
    makeVector: (_ count: Int) -> FloatVector = { FloatVector(count: $0) }
  ) throws {
    try plan.check(dataset)
    self.plan = plan
    self.state = state
    self.dataset = dataset
    self.ranges = ranges
    self.rank = rank
    let samplesPerShard = plan.spec.training.shardSize
    let shards = ranges[rank]
    pool = ThreadPool(threadCount: threads)
    assignment = ShardAssignment(
      shards: shards, shardCount: plan.spec.training.virtualShards, samplesPerShard: samplesPerShard,
      halvesGradients: plan.spec.training.gradients == .fp16)
    loader = try BatchLoader(
      plan: plan, samples: dataset.train,
      slots: shards.lowerBound * samplesPerShard..<shards.upperBound * samplesPerShard)
    buffers = StepBuffers(plan: plan, pieceCount: assignment.pieces.count, makeVector: makeVector)
    update = StateUpdate(plan: plan, pool: pool)
  }

  /// Bytes of activations, gradients and scratch of the current phase; 0 before the first step.
  public var arenaByteCount: Int { executor?.arenaByteCount ?? 0 }

  /// As `TrainingExecutor.activationByteCount` and `savedByteCount` of the current phase; 0 before the first step.
  public var activationByteCounts: (peak: Int, saved: Int) {
    (executor?.activationByteCount ?? 0, executor?.savedByteCount ?? 0)
  }

  /// Collects where the time of steps goes; `nil`, as it is at first, costs nothing.
  public var profile: StepProfile? {
    didSet { executor?.profile = profile }
  }

  /// Makes one global step.
  ///
  /// - Parameter reducer: sums over all members of the generation; every rank calls with its own.
  /// - Returns: the report, the same on every rank.
  /// - Throws: what the reducer throws when a member is lost; `TrainingError.diverged` on every rank when the gradient is not finite
  ///   and no smaller loss scale helps. The state is then as before the call.
  public func step(_ reducer: any Reducer) throws -> StepReport {
    let start = ContinuousClock.now
    profile?.start()
    let step = state.committedStep
    let phase = plan.phase(atStep: step)
    let executor = try executor(for: phase, reducer)
    let batch = loader.batch(ofStep: step, prefetching: step + 1 < plan.totalSteps ? step + 1 : nil)
    executor.input = batch.input
    executor.labels = batch.labels
    profile?.mark(.other)
    let waitedBefore = executor.waitingTime
    try executor.loadWeights(flat: state.weights.pointer)
    executor.setActivationScales(buffers.activationScales(of: plan))
    executor.setFrozenStatistics(phase.batchNormIsFrozen ? UnsafePointer(state.statistics.pointer) : nil)
    let lossScale = phase.precision == .fp16 ? state.lossScale.value : 1

    try reducer.begin(
      step: UInt64(step), pieces: buffers.pieces, result: buffers.sum.pointer, maxima: buffers.maxima.pointer,
      halfScale: assignment.gradientHalfScale(phase.precision),
      finishing: update.begin(buffers, state: state, lossScale: lossScale))
    profile?.mark(.communication)
    executor.forward(
      labelSmoothing: Float(plan.spec.training.labelSmoothing), pieces: buffers.pieces,
      maxima: buffers.maxima.pointer)
    reducer.submitMaxima()
    executor.backward(lossScale: lossScale, pieces: buffers.pieces) { bucket in
      reducer.submit(bucket: bucket)
      profile?.mark(.communication)
    }
    lastComputeTime = ContinuousClock.now - start - (executor.waitingTime - waitedBefore)
    let isFinite = try reducer.wait()
    profile?.mark(.communication)

    defer { profile?.mark(.optimizer) }
    return try update.commit(gradientIsFinite: isFinite, phase: phase, lossScale: lossScale)
  }

  /// The executor of a phase, made on entering it; the first quantized step calibrates before.
  private func executor(for phase: Phase, _ reducer: any Reducer) throws -> TrainingExecutor {
    buffers.takeObservers(of: state)
    if phase.calibratesFirst { try calibrate(reducer) }
    if let executor, executor.precision == phase.precision { return executor }
    executor = nil
    let executor = try makeExecutor(phase.precision)
    executor.profile = profile
    self.executor = executor
    return executor
  }

  private func makeExecutor(_ precision: ExecutionPrecision) throws -> TrainingExecutor {
    let isQuantized = precision == .quantized || precision == .calibration
    return try TrainingExecutor(
      graph: isQuantized ? plan.quantizedGraph ?? plan.floatGraph : plan.floatGraph, layout: plan.layout,
      reduction: plan.reduction, assignment: assignment, precision: precision, pool: pool,
      sharing: state.loadSharing)
  }

  /// Sets the first scales: float forward passes over the next batches, ranges reduced per batch, one observer update each.
  ///
  /// Works on the scratch observers, which become the state's when the step is committed.
  private func calibrate(_ reducer: any Reducer) throws {
    let executor = try makeExecutor(.calibration)
    try executor.loadWeights(flat: state.weights.pointer)
    let batchCount = plan.spec.quantization.calibrationBatches
    let maximumCount = plan.reduction.maximumCount
    let own = FloatVector(count: batchCount * maximumCount)
    defer { withExtendedLifetime(own) {} }
    for index in 0..<batchCount {
      let batch = loader.batch(ofStep: plan.calibrationStep(index, from: state.committedStep), prefetching: nil)
      executor.input = batch.input
      executor.labels = batch.labels
      executor.forwardForCalibration(maxima: own.pointer + index * maximumCount)
    }
    let byteCount = own.count * MemoryLayout<Float>.size
    let gathered = try reducer.gather(
      UnsafeRawBufferPointer(start: own.pointer, count: byteCount),
      byteCounts: [Int](repeating: byteCount, count: ranges.count))
    let maxima = FloatVector.maxima(ofBlocks: gathered, count: own.count)
    withExtendedLifetime(maxima) {
      for index in 0..<batchCount { buffers.observe(maxima.pointer + index * maximumCount, plan: plan) }
    }
  }
}
