// How fast this worker computes, whatever the others do: the time of its own computation per virtual shard. The coordinator gives
// faster workers more shards. The median, so that a step that was disturbed counts for nothing.

/// The recent computing times of one member in one generation.
package struct ShardClock: Sendable {
  private static let window = 15
  /// Fewer steps say nothing: the first ones warm caches up.
  private static let least = 5

  private let shardCount: Int
  private var times: [Duration] = []

  /// - Parameter shardCount: the member's virtual shards.
  package init(shardCount: Int) { self.shardCount = shardCount }

  /// Takes in the computing time of one step.
  ///
  /// - Returns: microseconds per shard, 0 while too little is known.
  package mutating func note(_ time: Duration) -> UInt64 {
    times.append(time)
    if times.count > Self.window { times.removeFirst() }
    guard times.count >= Self.least else { return 0 }
    return UInt64(max(1, times.sorted()[times.count / 2].microseconds / shardCount))
  }
}
