// Which virtual shards of a global batch a member computes, and how its partial sums are cut.

import Kernels

/// A contiguous range of the V virtual shards of every global batch, held by one member.
public struct ShardAssignment: Sendable, Hashable {
  /// The shards held, out of 0..<shardCount.
  public let shards: Range<Int>
  /// V, the number of shards of the global batch; a power of two.
  public let shardCount: Int
  /// Samples of one shard, B/V.
  public let samplesPerShard: Int
  /// The maximal complete aligned subtrees of the tree over 0..<V that `shards` consists of, ascending.
  ///
  /// Every member sends one partial sum per piece; the reducer finishes the tree over all members' pieces.
  public let pieces: [Range<Int>]
  /// Whether gradients are summed as halves, for links that are slow.
  public let halvesGradients: Bool

  /// Describes a member's share of the batch.
  ///
  /// - Parameters:
  ///   - shards: not empty, inside 0..<shardCount.
  ///   - shardCount: a power of two, at most 64.
  ///   - samplesPerShard: at least 1.
  ///   - halvesGradients: whether every leaf and node of the gradients' tree is rounded to a half.
  public init(shards: Range<Int>, shardCount: Int, samplesPerShard: Int, halvesGradients: Bool = false) {
    precondition(
      (1...64).contains(shardCount) && shardCount & (shardCount - 1) == 0,
      "\(shardCount) virtual shards: a power of two of at most 64 is needed")
    precondition(
      !shards.isEmpty && shards.lowerBound >= 0 && shards.upperBound <= shardCount,
      "shards \(shards) are not a part of 0..<\(shardCount)")
    precondition(samplesPerShard >= 1, "\(samplesPerShard) samples per shard")
    self.shards = shards
    self.shardCount = shardCount
    self.samplesPerShard = samplesPerShard
    self.halvesGradients = halvesGradients
    pieces = Self.pieces(of: shards)
  }

  /// Samples this member holds, in shard order.
  public var sampleCount: Int { shards.count * samplesPerShard }
  /// Samples of the global batch, B.
  public var globalBatchSize: Int { shardCount * samplesPerShard }

  /// The pieces in the kernels' terms, counted from this member's first shard.
  ///
  /// - Parameter halfScale: as in `ShardPiece`.
  func localPieces(halfScale: Float = 0) -> [ShardPiece] {
    pieces.map {
      ShardPiece(firstLocalShard: $0.lowerBound - shards.lowerBound, shardCount: $0.count, halfScale: halfScale)
    }
  }

  /// The scale with which gradients are halved in a phase; 0 when they are not.
  ///
  /// Gradients of the mean loss are far below 1, where halves have few bits: 1,024 keeps what is above 6e-11 and below 64.
  /// In the FP16 phase the dynamic loss scale is there for that already.
  func gradientHalfScale(_ precision: ExecutionPrecision) -> Float {
    guard halvesGradients else { return 0 }
    return precision == .fp16 ? 1 : 1_024
  }

  /// Cuts a range of shards greedily into the largest power-of-two blocks that start at a multiple of their own size.
  public static func pieces(of shards: Range<Int>) -> [Range<Int>] {
    var pieces: [Range<Int>] = []
    var start = shards.lowerBound
    while start < shards.upperBound {
      var count = 1
      while start.isMultiple(of: 2 * count) && start + 2 * count <= shards.upperBound { count *= 2 }
      pieces.append(start..<start + count)
      start += count
    }
    return pieces
  }
}
