// The reductions of a step over the members of a generation: Training's Reducer on Communication's AllReduce.
public import Communication
public import Training

extension FloatVector {
  /// A vector that members on the same machine read where it lies, or an ordinary one where there is no such memory.
  public static func shared(count: Int) -> FloatVector {
    guard let buffer = SharedBuffer(count: count) else { return FloatVector(count: count) }
    return FloatVector(count: count, pointer: buffer.pointer, owner: buffer)
  }
}

/// Finishes sums, maxima and gathers of one generation over its mesh; see `Reducer`.
public final class ClusterReducer: Reducer {
  private let mesh: PeerMesh
  private let allReduce: AllReduce
  private var step: UInt64 = 0
  /// Time spent in `wait`: the part of the reductions that nothing else hid.
  private(set) var waited = Duration.zero

  /// Prepares a formed mesh.
  ///
  /// - Parameters:
  ///   - mesh: of the generation, formed.
  ///   - plan: what a step reduces, the same on all ranks.
  ///   - ranges: the virtual shards by rank.
  ///   - shardCount: V.
  ///   - halvesGradients: whether gradients travel as halves.
  /// - Throws: `CommunicationError` `misuse` when ranges and mesh do not belong together.
  public init(
    mesh: PeerMesh, plan: ReductionPlan, ranges: [Range<Int>], shardCount: Int, halvesGradients: Bool = false
  ) throws {
    self.mesh = mesh
    let layout = try ReductionLayout(
      sumCount: plan.sumCount, buckets: plan.buckets, maximumCount: plan.maximumCount,
      gradientCount: plan.parameterRange.upperBound)
    let half = HalfFormat(
      encode: { GradientHalves.encode($0, $1, $2, $3) }, decode: { GradientHalves.decode($0, $1, $2, $3) })
    allReduce = try AllReduce(
      mesh: mesh, layout: layout, ranges: ranges, shardCount: shardCount, half: halvesGradients ? half : nil)
  }

  /// Opens a step.
  public func begin(
    step: UInt64, pieces: [UnsafeMutablePointer<Float>], result: UnsafeMutablePointer<Float>,
    maxima: UnsafeMutablePointer<Float>, halfScale: Float, finishing: ((Range<Int>, UnsafePointer<Float>) -> Void)?
  ) throws {
    if let failure = mesh.failure { throw failure }
    self.step = step
    allReduce.begin(
      step: step, pieces: pieces, result: result, maxima: maxima, halfScale: halfScale, finishing: finishing)
  }

  /// Says that a bucket of every piece is final.
  public func submit(bucket: Int) { allReduce.submit(bucket: bucket) }

  /// Says that the own maxima are final.
  public func submitMaxima() { allReduce.submitMaxima() }

  /// Blocks until everything submitted is reduced; says whether the gradient is finite.
  public func wait() throws -> Bool {
    let start = ContinuousClock.now
    defer { waited += .now - start }
    return try allReduce.wait()
  }

  /// Collects one block of every member, in rank order.
  public func gather(_ own: UnsafeRawBufferPointer, byteCounts: [Int]) throws -> [UInt8] {
    try mesh.allGather(step: step, block: own, byteCounts: byteCounts)
  }
}
