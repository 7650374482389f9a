// Sums over virtual shards in tree order, and row sums.
// A tree over 2^d leaves taken in order needs a stack of d + 1 vectors: leaf s is pushed, then as many pairs are joined
// as s has trailing ones. The same scheme with whole tiles is in WeightGradient.swift.

package import KernelsInterface

/// A leaf or node of the tree as it is kept: rounded to fp16(value * scale) / scale, or as it is with scale 0.
///
/// The scale is a power of two, so that only the conversion rounds. TreeSum.swift of Communication does the same between members.
@inline(__always)
func kept(_ value: Floats, _ scale: Float) -> Floats {
  scale == 0 ? value : roundedToHalf(value * Floats(repeating: scale)) * Floats(repeating: 1 / scale)
}

/// Tree sum over the leaves of a piece, leaf(s) being called in ascending order.
@inline(__always)
func treeSum(_ piece: ShardPiece, _ leaf: (Int) -> Floats) -> Floats {
  withUnsafeTemporaryAllocation(of: Floats.self, capacity: 8) { stack in
    var depth = 0
    for s in 0..<piece.shardCount {
      var node = kept(leaf(s), piece.halfScale)
      var joins = s
      while joins & 1 == 1 {
        depth -= 1
        node = kept(stack[depth] + node, piece.halfScale)
        joins >>= 1
      }
      stack[depth] = node
      depth += 1
    }
    return stack[0]
  }
}

extension Body {
  package static func combineShards(
    _ values: UnsafePointer<Float>, count n: Int, pieces: UnsafeBufferPointer<ShardPiece>,
    outputs: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int, of parts: Int
  ) {
    for (index, piece) in pieces.enumerated() {
      let first = values + piece.firstLocalShard * n
      let output = outputs[index]
      forVectors(count: n, part: part, of: parts) { i, lanes in
        store(treeSum(piece) { load(first + $0 * n + i, lanes) }, output + i, lanes)
      }
    }
  }

  package static func addTree(
    left: UnsafePointer<Float>, right: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>, count: Int,
    part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(load(left + i, lanes) + load(right + i, lanes), output + i, lanes)
    }
  }

  package static func biasGradient(
    _ gradientOutput: UnsafePointer<Float>, rowsPerShard: Int, channels: Int,
    pieces: UnsafeBufferPointer<ShardPiece>, outputs: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int,
    of parts: Int
  ) {
    for (index, piece) in pieces.enumerated() {
      let output = outputs[index]
      forVectors(share(channels, alignment: 16, part: part, of: parts)) { k, lanes in
        let sum = treeSum(piece) { shard in
          let first = gradientOutput + (piece.firstLocalShard + shard) * rowsPerShard * channels + k
          var sum = Floats.zero
          for row in 0..<rowsPerShard { sum += load(first + row * channels, lanes) }
          return sum
        }
        store(sum, output + k, lanes)
      }
    }
  }

  package static func sumRows(
    _ values: UnsafePointer<Float>, rows: Int, count n: Int, output: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows {
      var sum: Float = 0
      for i in 0..<n { sum += values[row * n + i] }
      output[row] = sum
    }
  }
}
