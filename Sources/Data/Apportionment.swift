// Whole numbers from shares: how many of each class, and in which order.

enum Apportionment {
  /// Integer counts proportional to shares that add up to a total (Hamilton's method of largest remainders).
  ///
  /// Ties go to the lower index, so the result is a function of the shares alone.
  static func largestRemainder(shares: [Double], total: Int) -> [Int] {
    let sum = shares.reduce(0, +)
    precondition(sum > 0, "shares \(shares) add up to nothing")
    let quotas = shares.map { $0 / sum * Double(total) }
    var counts = quotas.map { Int($0.rounded(.down)) }
    let byRemainder = shares.indices.sorted {
      let left = quotas[$0] - Double(counts[$0])
      let right = quotas[$1] - Double(counts[$1])
      return left == right ? $0 < $1 : left > right
    }
    for index in byRemainder.prefix(max(0, total - counts.reduce(0, +))) { counts[index] += 1 }
    return counts
  }

  /// A sequence in which index i occurs counts[i] times, each spread as evenly as the others allow.
  ///
  /// Smooth weighted round robin, as in nginx: each turn every index earns its count, the richest is taken and pays the
  /// total. In integers, so exact; after `total` turns every debt is paid.
  static func interleave(counts: [Int]) -> [Int] {
    let total = counts.reduce(0, +)
    var credits = Array(repeating: 0, count: counts.count)
    return (0..<total).map { _ in
      var richest = 0
      for index in counts.indices {
        credits[index] += counts[index]
        if credits[index] > credits[richest] { richest = index }
      }
      credits[richest] -= total
      return richest
    }
  }
}
