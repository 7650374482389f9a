// One rank of `temper bench allreduce`, in a process of its own.

import Communication
import Foundation

/// A rank that reduces ones with the others and tells how long it took.
public enum AllReduceRank {
  static let shardCount = 8
  /// Floats of a bucket: as many as in training (ReductionPlan).
  private static let bucketCount = 262_144

  /// Where a rank listens.
  struct Endpoint: Codable {
    let tcp: String
    let ipc: String
    let host: String
  }

  /// Plays a rank: prints its endpoint, reads everyone's, reduces, prints the times in milliseconds.
  ///
  /// - Throws: `CommunicationError` when a rank is lost; `AllReduceBenchmark.Failure` without endpoints or when a sum is wrong.
  public static func run(_ options: AllReduceBenchmark.Options, rank: Int) throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
      "temper-bench-\(getpid())", isDirectory: true)
    try FileManager.default.createDirectory(
      at: directory, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(at: directory) }
    let mesh = try PeerMesh(PeerMesh.Configuration(ipcDirectory: directory.path))
    defer { mesh.close() }
    try tell(Endpoint(tcp: mesh.dataEndpoint, ipc: mesh.ipcEndpoint, host: HostIdentity.current))
    guard let line = readLine() else {
      throw AllReduceBenchmark.Failure(description: "rank \(rank) was told no endpoints")
    }
    let peers = try JSONDecoder().decode([Endpoint].self, from: Data(line.utf8)).enumerated().map {
      MeshPeer(name: "rank-\($0)", dataEndpoint: $1.tcp, ipcEndpoint: $1.ipc, host: $1.host)
    }
    try mesh.form(MeshMembership(job: 1, generation: 1, rank: rank, peers: peers), timeout: .seconds(20))
    try tell(measure(mesh, options, rank: rank))
    // Whoever leaves first breaks the links that others still read from: all wait until the parent closes their input.
    while readLine() != nil {}
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
    let pieces = allReduce.pieces.map { piece in
      let buffer = UnsafeMutablePointer<Float>.allocate(capacity: count)
      buffer.initialize(repeating: Float(piece.count), count: count)
      return buffer
    }
    let result = UnsafeMutablePointer<Float>.allocate(capacity: count)
    result.initialize(repeating: 0, count: count)
    defer { for buffer in pieces + [result] { buffer.deallocate() } }

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
      allReduce.begin(step: UInt64(step), pieces: pieces, result: result, maxima: result)
      for bucket in buckets.indices { allReduce.submit(bucket: bucket) }
      try allReduce.wait()
      own = start.duration(to: .now).milliseconds
      // Every piece holds its number of shards, so every sum is the number of all shards.
      guard step > 0 || UnsafeBufferPointer(start: result, count: count).allSatisfy({ $0 == Float(shardCount) }) else {
        throw AllReduceBenchmark.Failure(description: "rank \(rank): a sum over \(shardCount) shards is wrong")
      }
    }
    return slowest
  }

  private static func tell(_ value: some Encodable) throws {
    var line = try JSONEncoder().encode(value)
    line.append(UInt8(ascii: "\n"))
    try FileHandle.standardOutput.write(contentsOf: line)
  }
}
