// How many workers each job of a shared pool should have. Pure arithmetic; JobBoard+Scheduling moves the workers.
// 1. In order of priority, then of submission, every job gets its minimum. Where that many are not left, it holds on to what it
//    has and what is idle, so that a job that needs many is never starved, but takes nothing from jobs that run.
// 2. What is left goes to the jobs of the highest priority first, evenly among equals (the smallest share next, the earlier job
//    first), up to what each can use.
// The result is a function of the pool and the claims alone, so shares change only when these do.

/// Divides a pool of workers among jobs.
package enum FairShare {
  /// What one job asks for.
  package struct Claim: Sendable, Hashable {
    package var priority: Int
    package var minimum: Int
    /// The most workers that it can use.
    package var capacity: Int
    /// Workers that it has now.
    package var held: Int

    package init(priority: Int = 0, minimum: Int = 1, capacity: Int = 8, held: Int = 0) {
      self.priority = priority
      self.minimum = minimum
      self.capacity = capacity
      self.held = held
    }
  }

  /// The share of each claim.
  ///
  /// - Parameters:
  ///   - idle: workers that no job has.
  ///   - claims: by descending priority, then in order of submission.
  /// - Returns: shares in the order of the claims; together at most `idle` and all that is held.
  package static func shares(idle: Int, among claims: [Claim]) -> [Int] {
    var left = idle + claims.reduce(0) { $0 + $1.held }
    var idle = idle
    var shares = claims.map { claim in
      let enough = claim.minimum <= claim.capacity && claim.minimum <= left
      let share = enough ? claim.minimum : min(left, claim.held + idle)
      idle -= min(idle, max(0, share - claim.held))
      left -= share
      return share
    }
    var equals = 0..<0
    while left > 0, equals.upperBound < claims.count {
      equals = run(of: claims, from: equals.upperBound)
      while left > 0, let next = smallest(of: shares, among: claims, in: equals) {
        shares[next] += 1
        left -= 1
      }
    }
    return shares
  }

  /// The claims of the same priority as the first.
  private static func run(of claims: [Claim], from first: Int) -> Range<Int> {
    var end = first
    while end < claims.count, claims[end].priority == claims[first].priority { end += 1 }
    return first..<end
  }

  /// The earliest of the smallest shares that may grow.
  private static func smallest(of shares: [Int], among claims: [Claim], in equals: Range<Int>) -> Int? {
    var smallest: Int?
    for index in equals where shares[index] >= claims[index].minimum && shares[index] < claims[index].capacity {
      if smallest.map({ shares[index] < shares[$0] }) ?? true { smallest = index }
    }
    return smallest
  }
}
