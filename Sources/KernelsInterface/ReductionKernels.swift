// Sums over shards in the fixed tree, and what feeds them.

/// Reductions whose order follows the virtual shards: within a shard ascending, over shards node = left + right.
public protocol ReductionKernels {
  /// Combines per-shard values piece by piece, as a binary tree.
  ///
  /// - Parameters:
  ///   - values: [S, n].
  ///   - pieces: the shards to combine.
  ///   - outputs: one pointer per piece, each to [n], overwritten.
  static func combineShards(
    _ values: UnsafePointer<Float>, count n: Int, pieces: UnsafeBufferPointer<ShardPiece>,
    outputs: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int, of parts: Int)

  /// One node of the tree: output = left + right. `output` may be `left` or `right`.
  static func addTree(
    left: UnsafePointer<Float>, right: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>, count: Int,
    part: Int, of parts: Int)

  /// Bias gradient: for each piece the tree over shards of the sum over the shard's rows.
  ///
  /// - Parameters:
  ///   - gradientOutput: [S, rowsPerShard, K].
  ///   - outputs: one pointer per piece, each to [K], overwritten.
  static func biasGradient(
    _ gradientOutput: UnsafePointer<Float>, rowsPerShard: Int, channels: Int,
    pieces: UnsafeBufferPointer<ShardPiece>, outputs: UnsafePointer<UnsafeMutablePointer<Float>>, part: Int,
    of parts: Int)

  /// output[s] = sum of the n values of row s, ascending.
  ///
  /// - Parameter values: [rows, n], such as the losses of each shard's samples.
  static func sumRows(
    _ values: UnsafePointer<Float>, rows: Int, count n: Int, output: UnsafeMutablePointer<Float>)
}
