// Which virtual shards each worker computes. Any assignment gives the same bits (design, 4.1), so this is about speed only:
// 1. the slowest worker sets the pace, so the longest time (shards / speed) is as short as it can be: ceil(V / n) shards for
//    equals, half as many for a worker half as fast;
// 2. then each worker sends as few partial sums as possible: a range that is one aligned subtree sends one, an unaligned
//    range one per maximal aligned subtree in it;
// 3. then the ranges are as equal as possible.
// Found exactly by dynamic programming over the cuts; V <= 64, so there are at most 64 * 64 * 64 cases.

/// Plans contiguous shard ranges.
package enum ShardPlanner {
  /// Speeds that differ by less than this share of the fastest are taken for equal: that much is noise.
  package static let tolerance = 0.1

  /// The shard ranges of `workerCount` equally fast workers in rank order; see `ranges(shardCount:speeds:)`.
  package static func ranges(shardCount: Int, workerCount: Int) -> [Range<Int>] {
    ranges(shardCount: shardCount, speeds: Array(repeating: 1, count: workerCount))
  }

  /// Speeds in shards per second of workers whose time per shard was measured; the unknown are taken for average.
  package static func speeds(of shardTimes: [Duration?]) -> [Double] {
    let known = shardTimes.compactMap { $0 }.filter { $0 > .zero }.map { 1 / ($0 / .seconds(1)) }
    let average = known.isEmpty ? 1 : known.reduce(0, +) / Double(known.count)
    let speeds = shardTimes.map { time in time.flatMap { $0 > .zero ? 1 / ($0 / .seconds(1)) : nil } ?? average }
    let fastest = speeds.max() ?? 1
    return speeds.map { $0 >= fastest * (1 - tolerance) ? fastest : $0 }
  }

  /// The time of a step if shards could be cut at will, a hair less: no plan has a shorter one.
  package static func shortestStep(shardCount: Int, times: [Duration]) -> Duration {
    guard times.allSatisfy({ $0 > .zero }) else { return .zero }
    let rate = times.reduce(0) { $0 + 1 / ($1 / .seconds(1)) }
    return .seconds(Double(shardCount) / rate * (1 - 1e-9))
  }

  /// The shard ranges of workers of these speeds in rank order: contiguous, none empty, together `0..<shardCount`.
  ///
  /// - Parameters:
  ///   - shardCount: V, the number of virtual shards; a power of two, at most 64.
  ///   - speeds: in shards per unit of time, greater than zero; 1...shardCount of them.
  package static func ranges(shardCount: Int, speeds: [Double]) -> [Range<Int>] {
    precondition(
      (1...max(1, shardCount)).contains(speeds.count), "\(speeds.count) workers cannot share \(shardCount) shards")
    let largest = largestCounts(shardCount: shardCount, speeds: speeds)
    // best[end]: the cheapest way for the workers so far to cover 0..<end; nil where they cannot.
    var best: [Plan?] = Array(repeating: nil, count: shardCount + 1)
    best[0] = Plan(cost: Cost(), cuts: [0])
    for limit in largest {
      var next: [Plan?] = Array(repeating: nil, count: shardCount + 1)
      for case (let start, let plan?) in best.enumerated() where start < shardCount {
        for end in start + 1..<min(start + limit, shardCount) + 1 {
          let cost = plan.cost.adding(start..<end)
          if next[end].map({ cost < $0.cost }) ?? true { next[end] = Plan(cost: cost, cuts: plan.cuts + [end]) }
        }
      }
      best = next
    }
    guard let cuts = best[shardCount]?.cuts else { preconditionFailure("no plan for \(speeds) of \(shardCount)") }
    return zip(cuts, cuts.dropFirst()).map { $0..<$1 }
  }

  /// The most shards that each worker may take for the shortest step in which all of them are computed.
  private static func largestCounts(shardCount: Int, speeds: [Double]) -> [Int] {
    func counts(within time: Double) -> [Int] {
      // A hair more, so that a time made of a count allows that count.
      speeds.map { max(1, min(shardCount, Int(time * $0 * (1 + 1e-9)))) }
    }
    let times = speeds.flatMap { speed in (1...shardCount).map { Double($0) / speed } }.sorted()
    var low = 0
    var high = times.count - 1
    while low < high {
      let middle = (low + high) / 2
      if counts(within: times[middle]).reduce(0, +) >= shardCount { high = middle } else { low = middle + 1 }
    }
    return counts(within: times[low])
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
