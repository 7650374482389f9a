// One rank of `temper bench allreduce`, in a process of its own.

import Communication
import Training
import Worker

/// A rank that reduces ones with the others and tells how long it took.
public enum AllReduceRank {
  static let shardCount = 8
  /// Floats of a bucket: as many as in training (ReductionPlan).
  private static let bucketCount = 262_144

  /// Plays a rank: finds the others, reduces, tells the times in milliseconds.
  ///
  /// - Throws: `CommunicationError` when a rank is lost; `BenchmarkFailure` without a parent or when a sum is wrong.
  public static func run(_ options: AllReduceBenchmark.Options, rank: Int) throws {
    let link = try RankLink(rank: rank, meshCount: 1, transport: options.transport)
    try link.tell(measure(link.meshes[0], options, rank: rank))
    link.waitForEnd()
  }

  /// Times of the slowest rank, warm-ups excluded.
  private static func measure(
    _ mesh: PeerMesh, _ options: AllReduceBenchmark.Options, rank: Int
  ) throws -> [Double] {
    let count = options.mebibytes << 18
    // From the end to the front, as a backward pass completes them.
    let buckets = Array(
      stride(from: 0, to: count, by: bucketCount).map { $0..<min($0 + bucketCount, count) }.reversed())
    let ranges = (0..<options.workers).map {
      shardCount * $0 / options.workers..<shardCount * ($0 + 1) / options.workers
    }
    let allReduce = try AllReduce(
      mesh: mesh, layout: ReductionLayout(sumCount: count, buckets: buckets, maximumCount: 0), ranges: ranges,
      shardCount: shardCount)
    // As a worker has them.
    let vectors = allReduce.pieces.map { _ in FloatVector.shared(count: count) }
    let result = FloatVector.shared(count: count)
    let pieces = vectors.map(\.pointer)
    for (piece, buffer) in zip(allReduce.pieces, pieces) { buffer.update(repeating: Float(piece.count), count: count) }
    defer { withExtendedLifetime((vectors, result)) {} }

    var slowest: [Double] = []
    var own = 0.0
    for step in 0...(options.warmUps + options.repetitions) {
      // Everyone's last time, and a barrier in front of the next.
      let all = try withUnsafeBytes(of: own) {
        try mesh.allGather(
          step: UInt64(step), block: $0, byteCounts: [Int](repeating: 8, count: options.workers))
      }
      let times = (0..<options.workers).map { rank in
        all.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8 * rank, as: Double.self) }
      }
      if step > options.warmUps { slowest.append(times.max() ?? 0) }
      guard step < options.warmUps + options.repetitions else { break }
      let start = ContinuousClock.now
      allReduce.begin(step: UInt64(step), pieces: pieces, result: result.pointer, maxima: result.pointer)
      for bucket in buckets.indices { allReduce.submit(bucket: bucket) }
      try allReduce.wait()
      own = start.duration(to: .now).milliseconds
      // Every piece holds its number of shards, so every sum is the number of all shards.
      guard step > 0 || UnsafeBufferPointer(start: result.pointer, count: count).allSatisfy({ $0 == Float(shardCount) })
      else {
        throw BenchmarkFailure(description: "rank \(rank): a sum over \(shardCount) shards is wrong")
      }
    }
    return slowest
  }
}
