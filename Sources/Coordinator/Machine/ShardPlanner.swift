// Which virtual shards each worker computes. Any assignment gives the same bits (design, 4.1), so this is about speed only:
// 1. the largest range is as small as it can be, ceil(V / n), because the slowest worker sets the pace;
// 2. then each worker sends as few partial sums as possible: a range that is one aligned subtree sends one, an unaligned
//    range one per maximal aligned subtree in it;
// 3. then the ranges are as equal as possible.
// Found exactly by dynamic programming over the cuts; V <= 64, so there are at most 64 * 64 * 64 cases.

/// Plans contiguous shard ranges.
package enum ShardPlanner {
  /// The shard ranges of `workerCount` workers in rank order: contiguous, none empty, together `0..<shardCount`.
  ///
  /// - Parameters:
  ///   - shardCount: V, the number of virtual shards; a power of two, at most 64.
  ///   - workerCount: 1...shardCount.
  package static func ranges(shardCount: Int, workerCount: Int) -> [Range<Int>] {
    precondition(
      (1...max(1, shardCount)).contains(workerCount), "\(workerCount) workers cannot share \(shardCount) shards")
    let largest = (shardCount + workerCount - 1) / workerCount
    // best[end]: the cheapest way for the workers so far to cover 0..<end; nil where they cannot.
    var best: [Plan?] = Array(repeating: nil, count: shardCount + 1)
    best[0] = Plan(cost: Cost(), cuts: [0])
    for _ in 0..<workerCount {
      var next: [Plan?] = Array(repeating: nil, count: shardCount + 1)
      for case (let start, let plan?) in best.enumerated() {
        for end in start + 1..<min(start + largest, shardCount) + 1 {
          let candidate = Plan(cost: plan.cost.adding(start..<end), cuts: plan.cuts + [end])
          if next[end].map({ candidate.cost < $0.cost }) ?? true { next[end] = candidate }
        }
      }
      best = next
    }
    guard let cuts = best[shardCount]?.cuts else { preconditionFailure("no plan for \(workerCount) of \(shardCount)") }
    return zip(cuts, cuts.dropFirst()).map { $0..<$1 }
  }

  /// How many partial sums a worker with this range sends: the number of maximal aligned subtrees in it.
  ///
  /// The same cut as `ShardTree.pieces(of:shardCount:)` of Communication; a test compares them.
  package static func pieceCount(of range: Range<Int>) -> Int {
    var first = range.lowerBound
    var count = 0
    while first < range.upperBound {
      let fitting = largestPower(range.upperBound - first)
      first += first == 0 ? fitting : min(fitting, first & -first)
      count += 1
    }
    return count
  }

  private static func largestPower(_ limit: Int) -> Int { 1 << (Int.bitWidth - 1 - limit.leadingZeroBitCount) }

  private struct Plan {
    var cost: Cost
    var cuts: [Int]
  }

  /// Compared in this order: most pieces of one worker, all pieces, sum of squared sizes.
  private struct Cost: Comparable {
    var mostPieces = 0
    var pieces = 0
    var squares = 0

    func adding(_ range: Range<Int>) -> Cost {
      let count = ShardPlanner.pieceCount(of: range)
      return Cost(
        mostPieces: max(mostPieces, count), pieces: pieces + count, squares: squares + range.count * range.count)
    }

    static func < (left: Cost, right: Cost) -> Bool {
      (left.mostPieces, left.pieces, left.squares) < (right.mostPieces, right.pieces, right.squares)
    }
  }
}
