// Which pieces a range of shards consists of.

import Kernels
import Testing

@testable import Training

@Suite("Shard assignment")
struct ShardAssignmentTests {
  @Test("an aligned subtree is one piece")
  func alignedSubtree() {
    #expect(ShardAssignment.pieces(of: 0..<8) == [0..<8])
    #expect(ShardAssignment.pieces(of: 4..<8) == [4..<8])
    #expect(ShardAssignment.pieces(of: 5..<6) == [5..<6])
  }

  @Test("an uneven range is cut into the largest aligned subtrees, ascending")
  func unevenRange() {
    #expect(ShardAssignment.pieces(of: 1..<8) == [1..<2, 2..<4, 4..<8])
    #expect(ShardAssignment.pieces(of: 0..<7) == [0..<4, 4..<6, 6..<7])
    #expect(ShardAssignment.pieces(of: 3..<6) == [3..<4, 4..<6])
  }

  @Test("every range is covered once by aligned powers of two, none of which could be merged")
  func exhaustive() {
    for first in 0..<16 {
      for last in first + 1...16 {
        let pieces = ShardAssignment.pieces(of: first..<last)
        #expect(pieces.flatMap(Array.init) == Array(first..<last))
        for piece in pieces {
          #expect(piece.count & (piece.count - 1) == 0 && piece.lowerBound.isMultiple(of: piece.count))
        }
        for (left, right) in zip(pieces, pieces.dropFirst()) {
          let merged = left.count == right.count && left.lowerBound.isMultiple(of: 2 * left.count)
          #expect(!merged, "\(left) and \(right) of \(first)..<\(last) are one subtree")
        }
      }
    }
  }

  @Test("a member's local pieces count from its first shard")
  func localPieces() {
    let assignment = ShardAssignment(shards: 3..<8, shardCount: 8, samplesPerShard: 4)
    #expect(assignment.localPieces().map(\.firstLocalShard) == [0, 1])
    #expect(assignment.localPieces().map(\.shardCount) == [1, 4])
    #expect(assignment.sampleCount == 20)
    #expect(assignment.globalBatchSize == 32)
  }
}
