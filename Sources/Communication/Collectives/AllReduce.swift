// Direct all-reduce: reduce-scatter, then all-gather, in two steps; the face that a training thread uses.
// Each rank owns 1/P of every bucket, receives every partial sum of its part, finishes the fixed tree, sends the result to all.
// Cost per rank: 2 steps, 2(P-1)/P of the bytes when shard ranges are aligned subtrees, more partial sums otherwise.
// Why not a ring: its order of additions depends on P. The sending and summing are in ReduceOperation.swift, on the mesh thread.

/// The caller's buffers of one step; see `AllReduce.begin`.
struct ReduceBuffers: @unchecked Sendable {  // lent to the mesh thread from begin until the gate opens
  var step: UInt64
  var pieces: [UnsafeMutablePointer<Float>]
  var result: UnsafeMutablePointer<Float>
  var maxima: UnsafeMutablePointer<Float>
  /// 0 for floats, else the scale of gradients that travel as halves.
  var halfScale: Float = 0
  /// What is done with gradients where their sum is made, instead of telling everybody the sum.
  var finishing: ((Range<Int>, UnsafePointer<Float>) -> Void)?
}

/// Sums and maxima over all shards of a global batch, with the same bits for any assignment of shards to ranks.
///
/// One per generation. Per step, on one thread of each rank: `begin`, `submit` each bucket once as it is complete, in the
/// same order or not, `submitMaxima` if there are any, `wait`. Every rank begins the same operations (steps and gathers) in the
/// same order. After `wait` returns or throws, the buffers are the caller's again and no byte of them is under way.
public final class AllReduce {
  /// This rank's pieces: one buffer of `sumCount` partial sums for each, in this order.
  public let pieces: [TreePiece]
  private let mesh: PeerMesh
  private let membership: MeshMembership
  private let layout: ReductionLayout
  private let operation: ReduceOperation
  private let local: TreeSum?
  private var isBegun = false
  private var submitted: [Bool]
  private var maximaSubmitted = true
  /// What `local` found.
  private var gradientIsFinite = true
  private var buffers: ReduceBuffers?

  /// Prepares the all-reduce of the mesh's generation; allocates everything that steps need.
  ///
  /// - Parameters:
  ///   - mesh: formed.
  ///   - layout: the same on all ranks.
  ///   - ranges: the shards of each rank, contiguous and ascending; a range may be empty.
  ///   - shardCount: a power of two, at most 64.
  ///   - half: how gradients are converted in steps that send them as halves; nil when no step does.
  /// - Throws: `misuse` when the mesh has no generation or the ranges are no assignment of all shards to its ranks.
  public init(
    mesh: PeerMesh, layout: ReductionLayout, ranges: [Range<Int>], shardCount: Int, half: HalfFormat? = nil
  ) throws {
    guard let membership = mesh.membership, ranges.count == membership.worldSize else {
      throw CommunicationError(
        .misuse, "shard ranges for \(ranges.count) ranks; the mesh has \(mesh.membership?.worldSize ?? 0)")
    }
    guard (1...64).contains(shardCount), shardCount & (shardCount - 1) == 0,
      ShardTree.isAssignment(ranges, shardCount: shardCount)
    else {
      throw CommunicationError(.misuse, "shard ranges \(ranges) do not cut 0..<\(shardCount), a power of two, in order")
    }
    self.mesh = mesh
    self.membership = membership
    self.layout = layout
    pieces = ShardTree.pieces(of: ranges[membership.rank], shardCount: shardCount)
    operation = ReduceOperation(
      membership: membership, layout: layout, ranges: ranges, shardCount: shardCount, half: half)
    local = membership.worldSize == 1 ? TreeSum(pieces: pieces, shardCount: shardCount) : nil
    submitted = [Bool](repeating: false, count: layout.buckets.count)
  }

  /// Begins a step.
  ///
  /// - Parameters:
  ///   - step: the same on all ranks; a rank that is elsewhere ends the generation with both numbers in the message.
  ///   - pieces: this rank's partial sums, `sumCount` floats for each of `self.pieces`; filled bucket by bucket.
  ///   - result: `sumCount` floats, written between `begin` and `wait`; may be one of `pieces`.
  ///   - maxima: `maximumCount` floats, this rank's on `submitMaxima`, everybody's after `wait`.
  ///   - halfScale: 0 for floats; otherwise gradients travel as fp16(value * halfScale), the same on all ranks, and `pieces` are
  ///     rounded so already.
  ///   - finishing: if given, called for ranges of the gradient (`ReductionLayout.gradientCount`) with their sums as soon as this
  ///     rank has them, on the mesh thread; the ranks' ranges together are the gradient, which is then undefined in `result`.
  ///     What it has written when it returns, ranks on this machine may read when `wait` returns. All ranks give one or none does.
  public func begin(
    step: UInt64, pieces: [UnsafeMutablePointer<Float>], result: UnsafeMutablePointer<Float>,
    maxima: UnsafeMutablePointer<Float>, halfScale: Float = 0,
    finishing: ((Range<Int>, UnsafePointer<Float>) -> Void)? = nil
  ) {
    precondition(pieces.count == self.pieces.count, "\(pieces.count) buffers for \(self.pieces.count) pieces")
    start(
      ReduceBuffers(
        step: step, pieces: pieces, result: result, maxima: maxima, halfScale: halfScale, finishing: finishing),
      sums: true)
  }

  /// Begins an operation on the maxima alone, as the calibration batches of a quantized phase need it.
  public func beginMaxima(step: UInt64, maxima: UnsafeMutablePointer<Float>) {
    start(ReduceBuffers(step: step, pieces: [], result: maxima, maxima: maxima), sums: false)
  }

  private func start(_ buffers: ReduceBuffers, sums: Bool) {
    precondition(!isBegun, "step \(buffers.step) begun before the last one was waited for")
    isBegun = true
    for bucket in submitted.indices { submitted[bucket] = !sums }
    maximaSubmitted = layout.maximumCount == 0
    gradientIsFinite = true
    self.buffers = buffers
    guard local == nil else { return }
    operation.prepare(buffers, sums: sums)
    operation.gate.begin()
    mesh.command(.begin(operation))
  }

  /// Says that all pieces of a bucket are final; the mesh thread sends them at once.
  public func submit(bucket: Int) {
    precondition(isBegun && !submitted[bucket], "bucket \(bucket) submitted twice or before begin")
    submitted[bucket] = true
    if let local, let buffers {
      let range = layout.buckets[bucket]
      let isFinite = local.sum(count: range.count, into: buffers.result + range.lowerBound) {
        UnsafeRawPointer(buffers.pieces[$0] + range.lowerBound)
      }
      if layout.holdsGradients(bucket: bucket) {
        if !isFinite { gradientIsFinite = false }
        buffers.finishing?(range, buffers.result + range.lowerBound)
      }
    } else {
      mesh.command(.submit(operation, bucket: bucket))
    }
  }

  /// Says that this rank's maxima are final.
  public func submitMaxima() {
    precondition(isBegun, "maxima submitted before begin")
    maximaSubmitted = true
    guard layout.maximumCount > 0 else { return }
    if local != nil, let buffers {
      MaximumReduction.makeCanonical(buffers.maxima, count: layout.maximumCount)
    } else {
      mesh.command(.submitMaxima(operation))
    }
  }

  /// Waits until sums and maxima stand on this rank.
  ///
  /// - Returns: whether all sums in buckets of gradients (`ReductionLayout.gradientCount`) are finite; the same on all ranks.
  /// - Throws: `peerLost`, `generationEnded`, `protocolViolation`, `closed`: the generation is over and `result` undefined.
  @discardableResult
  public func wait() throws -> Bool {
    precondition(isBegun, "wait without begin")
    isBegun = false
    buffers = nil
    if let failure = mesh.failure, local != nil { throw failure }
    let isWhole = maximaSubmitted && !submitted.contains(false)
    precondition(isWhole || mesh.failure != nil, "wait before every bucket and the maxima were submitted")
    guard local == nil else { return gradientIsFinite }
    _ = try operation.gate.wait()
    return operation.gradientIsFinite
  }
}
