// "Did you mean ...?": the known word nearest to an unknown one, by edit distance.

enum Suggestions {
  /// The nearest candidate, or nil when none is near enough to help.
  ///
  /// - Parameters:
  ///   - word: What was written; only its first 128 bytes count, which bounds the work.
  ///   - candidates: Known words; for dotted paths the last component alone is compared too, so that a key written in
  ///     the wrong section is found in the right one.
  ///   - section: Section in which the word stands; its own keys win ties.
  static func nearest(to word: String, in candidates: [String], section: String = "") -> String? {
    let written = Array(word.utf8.prefix(128))
    let writtenLeaf = Array(leaf(of: word).utf8.prefix(128))
    var best: (distance: Int, isElsewhere: Bool, candidate: String)?
    for candidate in candidates {
      let whole = distance(written, Array(candidate.utf8))
      let leafOnly = distance(writtenLeaf, Array(leaf(of: candidate).utf8))
      // A third of the letters may differ, at least one; a bare leaf must match nearly exactly.
      let isNear = whole <= max(1, leaf(of: word).utf8.count / 3)
      let isSameLeaf = leafOnly <= max(writtenLeaf.count > 4 ? 1 : 0, 0)
      guard isNear || isSameLeaf else { continue }
      let distance = isNear ? whole : leafOnly + 2
      let isElsewhere = !section.isEmpty && !candidate.hasPrefix(section + ".")
      if best.map({ (distance, isElsewhere ? 1 : 0) < ($0.distance, $0.isElsewhere ? 1 : 0) }) ?? true {
        best = (distance, isElsewhere, candidate)
      }
    }
    return best?.candidate
  }

  /// Number of single-byte insertions, deletions, substitutions and swaps of neighbors (optimal string alignment).
  static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var beforePrevious: [Int] = []
    var previous = Array(0...right.count)
    for (i, a) in left.enumerated() {
      var current = [i + 1]
      for (j, b) in right.enumerated() {
        var cost = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a == b ? 0 : 1))
        if i > 0, j > 0, a == right[j - 1], left[i - 1] == b { cost = min(cost, beforePrevious[j - 1] + 1) }
        current.append(cost)
      }
      beforePrevious = previous
      previous = current
    }
    return previous[right.count]
  }

  private static func leaf(of path: String) -> String {
    path.split(separator: ".").last.map(String.init) ?? path
  }
}
