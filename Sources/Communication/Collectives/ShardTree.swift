// The fixed binary tree over the virtual shards of a global batch, and how an assignment of shards to ranks cuts it.
// The tree depends on the number of shards alone, so the sum has the same bits whoever holds which shard.
// Used by AllReduce (finishing the tree) and by Training (which pieces a worker sums before sending).

/// A complete, aligned subtree: shards first ..< first + count, count a power of two, first a multiple of count.
public struct TreePiece: Sendable, Hashable {
  /// The first shard of the subtree.
  public var first: Int
  /// How many shards it has; a power of two.
  public var count: Int

  /// Makes a piece; the caller keeps the alignment rule.
  public init(first: Int, count: Int) {
    self.first = first
    self.count = count
  }
}

/// The tree node = left + right over shards 0 ..< shardCount, shardCount a power of two.
public struct ShardTree: Sendable {
  /// The maximal complete subtrees that cover a contiguous range of shards, in ascending order.
  ///
  /// A worker sums each of them itself, in tree order, and sends one partial sum per piece. Nothing for an empty range.
  /// - Precondition: `shardCount` is a power of two and `range` lies in 0 ..< shardCount.
  public static func pieces(of range: Range<Int>, shardCount: Int) -> [TreePiece] {
    precondition(shardCount > 0 && shardCount & (shardCount - 1) == 0, "\(shardCount) shards are not a power of two")
    precondition(range.lowerBound >= 0 && range.upperBound <= shardCount, "shards \(range) outside 0..<\(shardCount)")
    var pieces: [TreePiece] = []
    var first = range.lowerBound
    while first < range.upperBound {
      var count = first == 0 ? shardCount : first & -first
      while first + count > range.upperBound { count /= 2 }
      pieces.append(TreePiece(first: first, count: count))
      first += count
    }
    return pieces
  }

  /// Whether the ranges, in order of rank, cover 0 ..< shardCount without gap or overlap; empty ranges are allowed.
  public static func isAssignment(_ ranges: [Range<Int>], shardCount: Int) -> Bool {
    var next = 0
    for range in ranges {
      guard range.lowerBound == next else { return false }
      next = range.upperBound
    }
    return next == shardCount
  }

  /// One addition of two subtrees.
  ///
  /// Operands below the piece count are pieces; the others are results of earlier steps.
  struct Addition: Hashable {
    var left: Int
    var right: Int
  }

  /// The additions that finish the tree from pieces in ascending order; step i makes operand pieces.count + i, the last is the sum.
  ///
  /// - Precondition: the pieces cover 0 ..< shardCount.
  static func additions(finishing pieces: [TreePiece], shardCount: Int) -> [Addition] {
    var additions: [Addition] = []
    var stack: [(operand: Int, piece: TreePiece)] = []
    for (index, piece) in pieces.enumerated() {
      stack.append((index, piece))
      while stack.count >= 2 {
        let right = stack[stack.count - 1]
        let left = stack[stack.count - 2]
        guard left.piece.count == right.piece.count, left.piece.first % (2 * left.piece.count) == 0 else { break }
        stack.removeLast(2)
        additions.append(Addition(left: left.operand, right: right.operand))
        let whole = TreePiece(first: left.piece.first, count: 2 * left.piece.count)
        stack.append((pieces.count + additions.count - 1, whole))
      }
    }
    precondition(
      stack.count == 1 && stack[0].piece == TreePiece(first: 0, count: shardCount),
      "pieces \(pieces) do not cover \(shardCount) shards")
    return additions
  }
}
