import Testing

@testable import Communication

@Suite("Shard tree")
struct ShardTreeTests {
  @Test("pieces of every range of every tree up to 64 shards are maximal, aligned and cover it")
  func pieces() {
    for shardCount in [1, 2, 4, 8, 16, 32, 64] {
      for from in 0...shardCount {
        for to in from...shardCount {
          let pieces = ShardTree.pieces(of: from..<to, shardCount: shardCount)
          #expect(pieces.flatMap { Array($0.first..<$0.first + $0.count) } == Array(from..<to))
          for piece in pieces {
            #expect(piece.count & (piece.count - 1) == 0 && piece.first % piece.count == 0)
            let parent = piece.first / (2 * piece.count) * 2 * piece.count
            #expect(
              piece.count == shardCount || parent < from || parent + 2 * piece.count > to, "\(piece) could be larger")
          }
        }
      }
    }
  }

  @Test("aligned ranges are one piece; three ranks of eight shards need two at most, of sixteen three")
  func pieceTable() {
    func most(_ shardCount: Int, _ worldSize: Int) -> Int {
      (0..<worldSize).map { rank in
        let range = shardCount * rank / worldSize..<shardCount * (rank + 1) / worldSize
        return ShardTree.pieces(of: range, shardCount: shardCount).count
      }.max() ?? 0
    }
    #expect([1, 2, 3, 4, 8].map { most(8, $0) } == [1, 1, 2, 1, 1])
    #expect([1, 2, 3, 4, 8, 16].map { most(16, $0) } == [1, 1, 3, 1, 1, 1])
  }

  @Test("finishing additions are the tree's own, whatever the pieces")
  func additions() {
    for shardCount in [1, 2, 8, 16] {
      for seed in 0..<6 {
        for worldSize in 1...8 {
          let ranges = Reference.ranges(worldSize, shardCount: shardCount, seed: seed)
          #expect(ShardTree.isAssignment(ranges, shardCount: shardCount))
          let pieces = ranges.flatMap { ShardTree.pieces(of: $0, shardCount: shardCount) }
          var words = pieces.map { word($0.first, $0.count) }
          for addition in ShardTree.additions(finishing: pieces, shardCount: shardCount) {
            words.append("(\(words[addition.left])+\(words[addition.right]))")
          }
          #expect(words.last == word(0, shardCount))
        }
      }
    }
  }

  private func word(_ first: Int, _ count: Int) -> String {
    count == 1 ? "\(first)" : "(\(word(first, count / 2))+\(word(first + count / 2, count / 2)))"
  }

  @Test("chunks of a bucket cover it once, cut at multiples of 16 elements")
  func chunks() {
    for count in [0, 1, 4, 15, 16, 17, 100, 1_000] {
      for worldSize in 1...9 {
        var next = 5
        for rank in 0..<worldSize {
          let chunk = ReductionLayout.chunk(of: 5..<5 + count, rank: rank, worldSize: worldSize)
          #expect(chunk.lowerBound == next)
          #expect((chunk.upperBound - 5) % 16 == 0 || chunk.upperBound == 5 + count)
          next = chunk.upperBound
        }
        #expect(next == 5 + count)
      }
    }
  }

  @Test("a layout whose buckets leave a gap, overlap or end early is refused")
  func layouts() throws {
    for buckets in [[0..<5, 6..<10], [0..<6, 5..<10], [0..<9], [0..<10, 0..<10]] {
      #expect(throws: CommunicationError.self) {
        try ReductionLayout(sumCount: 10, buckets: buckets, maximumCount: 0)
      }
    }
    #expect(throws: CommunicationError.self) { try ReductionLayout(sumCount: 0, buckets: [], maximumCount: 262_145) }
    #expect(try ReductionLayout(sumCount: 10, buckets: [6..<10, 0..<6], maximumCount: 2).buckets.count == 2)
  }

  @Test("segments join into buckets in order of completion")
  func joining() {
    let joined = ReductionLayout.buckets(joining: [90..<100, 80..<90, 50..<80, 0..<50], atLeast: 60)
    #expect(joined == [80..<100, 50..<80, 0..<50])
    #expect(ReductionLayout.buckets(joining: [5..<9, 0..<2, 2..<5], atLeast: 400) == [5..<9, 0..<5])
  }
}
