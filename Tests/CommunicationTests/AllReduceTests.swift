import Testing

@testable import Communication

@Suite("All-reduce", .serialized)
struct AllReduceTests {
  /// Runs some steps on every rank; what each rank got, bits of the sums and the maxima.
  private func reduce(
    _ ranks: Ranks, ranges: [Range<Int>], shardCount: Int, layout: ReductionLayout, steps: Int = 2,
    generation: UInt64 = 1
  ) throws -> [[[UInt32]]] {
    try ranks.run(generation: generation) { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: ranges, shardCount: shardCount)
      return try (0..<steps).map { step in
        let buffers = Buffers(allReduce, layout, rank: rank, step: step)
        allReduce.begin(step: UInt64(step), pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
        if rank % 2 == 0 { allReduce.submitMaxima() }
        for bucket in layout.buckets.indices { allReduce.submit(bucket: bucket) }
        if rank % 2 == 1 { allReduce.submitMaxima() }
        try allReduce.wait()
        return (buffers.sums + buffers.maximumValues).map(\.bitPattern)
      }
    }.map { try $0.get() }
  }

  private func expected(_ layout: ReductionLayout, worldSize: Int, shardCount: Int, steps: Int = 2) -> [[UInt32]] {
    (0..<steps).map { step in
      var values: [Float] = (0..<layout.sumCount).map { Reference.node(0, shardCount, $0 + step * 1_000_003) }
      for index in 0..<layout.maximumCount {
        let candidates: [Float] = (0..<worldSize).map { Reference.maximum(index, rank: $0, step: step) }
        values.append(candidates.max() ?? 0)
      }
      return values.map(\.bitPattern)
    }
  }

  private func layout(_ sumCount: Int, buckets: Int, maximumCount: Int = 5) throws -> ReductionLayout {
    let cuts = (0...buckets).map { sumCount * $0 / buckets }
    // Backward completes the last parameters first.
    let ranges = (0..<buckets).map { cuts[$0]..<cuts[$0 + 1] }.reversed()
    return try ReductionLayout(sumCount: sumCount, buckets: Array(ranges), maximumCount: maximumCount)
  }

  @Test("any assignment of shards gives the bits of the plain recursion", arguments: 1...8, [8, 16])
  func anyAssignment(worldSize: Int, shardCount: Int) throws {
    let ranks = try Ranks.inMemory(worldSize, seed: UInt64(worldSize * 31 + shardCount))
    defer { ranks.close() }
    for (index, count) in [0, 4, 100, 1_000, 10_000].enumerated() {
      let layout = try layout(count, buckets: index + 1, maximumCount: index)
      let ranges = Reference.ranges(worldSize, shardCount: shardCount, seed: index)
      let all = try reduce(
        ranks, ranges: ranges, shardCount: shardCount, layout: layout, generation: UInt64(index + 1))
      let expected = expected(layout, worldSize: worldSize, shardCount: shardCount)
      for rank in 0..<worldSize {
        #expect(all[rank] == expected, "rank \(rank) of \(worldSize), shards \(ranges), \(count) elements")
      }
    }
  }

  @Test("more ranks than shards: the ranks without shards still own their part")
  func moreRanksThanShards() throws {
    let ranks = try Ranks.inMemory(6)
    defer { ranks.close() }
    let layout = try layout(333, buckets: 2)
    let ranges = [0..<1, 1..<1, 1..<2, 2..<3, 3..<3, 3..<4]
    let all = try reduce(ranks, ranges: ranges, shardCount: 4, layout: layout, steps: 3)
    let expected = expected(layout, worldSize: 6, shardCount: 4, steps: 3)
    for bits in all { #expect(bits == expected) }
  }

  @Test("real sockets give the closed form, in several frames per bucket", arguments: [true, false], [2, 3])
  func realSockets(ipc: Bool, worldSize: Int) throws {
    let ranks = try Ranks.overZeroMQ(worldSize, ipc: ipc)
    defer { ranks.close() }
    let layout = try ReductionLayout(
      sumCount: 700_001, buckets: [690_000..<700_001, 0..<690_000], maximumCount: 5)
    let ranges = worldSize == 2 ? [0..<4, 4..<8] : [0..<3, 3..<5, 5..<8]
    let steps = 2
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: ranges, shardCount: 8)
      // Shard s holds (s + 1) * (element modulo 1000), so all sums are small integers, exact in any order.
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0) { piece, buffer in
        let factor = (piece.first..<piece.first + piece.count).reduce(0) { $0 + $1 + 1 }
        for element in 0..<layout.sumCount { buffer[element] = Float(factor * (element % 1_000)) }
      }
      for step in 0..<steps {
        allReduce.begin(step: UInt64(step), pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
        for bucket in layout.buckets.indices { allReduce.submit(bucket: bucket) }
        allReduce.submitMaxima()
        try allReduce.wait()
      }
      for element in 0..<layout.sumCount where buffers.result[element] != Float(36 * (element % 1_000)) {
        return element
      }
      return -1
    }
    for result in results { #expect(try result.get() == -1, "an element differs") }
    #expect(ranks.losses.all.isEmpty)
    let traffic = ranks.meshes[0].traffic
    #expect(traffic.droppedFrames == 0)
    // Aligned halves: all bytes once, half as partial sums and half as results; plus the maxima.
    if worldSize == 2 { #expect(traffic.sentBytes == UInt64(steps * (layout.sumCount * 4 + 5 * 4))) }
  }

  @Test("the result may be written over a piece")
  func resultOverPiece() throws {
    let ranks = try Ranks.inMemory(3)
    defer { ranks.close() }
    let layout = try layout(5_000, buckets: 3, maximumCount: 0)
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<3, 3..<5, 5..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      let last = buffers.pieces[buffers.pieces.count - 1]
      allReduce.begin(step: 0, pieces: buffers.pieces, result: last, maxima: buffers.maxima)
      for bucket in layout.buckets.indices { allReduce.submit(bucket: bucket) }
      try allReduce.wait()
      return (0..<layout.sumCount).map { last[$0].bitPattern }
    }
    for result in results { #expect(try result.get() == expected(layout, worldSize: 3, shardCount: 8, steps: 1)[0]) }
  }

  @Test("maxima have one zero and one NaN, whoever had them, and can be reduced alone", arguments: [1, 3])
  func maxima(worldSize: Int) throws {
    let ranks = try Ranks.inMemory(worldSize)
    defer { ranks.close() }
    let layout = try ReductionLayout(sumCount: 10, buckets: [0..<10], maximumCount: 4)
    let ranges = worldSize == 1 ? [0..<4] : [0..<1, 1..<2, 2..<4]
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: ranges, shardCount: 4)
      let maxima = UnsafeMutablePointer<Float>.allocate(capacity: 4)
      defer { maxima.deallocate() }
      maxima[0] = rank == 0 ? -0.0 : 0.0
      maxima[1] = rank == 0 ? Float(bitPattern: 0xFFC0_1234) : Float(rank)
      maxima[2] = -Float.infinity
      maxima[3] = Float(rank)
      allReduce.beginMaxima(step: 3, maxima: maxima)
      allReduce.submitMaxima()
      try allReduce.wait()
      return (0..<4).map { maxima[$0].bitPattern }
    }
    let expected = [0, Float.nan, -.infinity, Float(worldSize - 1)].map(\.bitPattern)
    for result in results { #expect(try result.get() == expected) }
  }

  @Test("ranks at different steps end the generation and say both numbers")
  func differentSteps() throws {
    let ranks = try Ranks.inMemory(2)
    defer { ranks.close() }
    let layout = try layout(64, buckets: 1)
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      allReduce.begin(
        step: UInt64(13 + rank), pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      allReduce.submit(bucket: 0)
      allReduce.submitMaxima()
      // The other rank learns of it from the coordinator; here from the test.
      try allReduce.wait()
    }
    let messages = results.map { result -> String in
      if case .failure(let error) = result { return "\(error)" }
      return ""
    }
    // Whoever sees it first says so; the other may learn it as the reason why the generation ended.
    for message in messages {
      #expect(
        message.contains("step 14: this member is at step 13") || message.contains("step 13: this member is at step 14")
      )
    }
  }

  @Test("an all-gather puts blocks of different sizes in order of rank, between all-reduces", arguments: [1, 2, 4])
  func allGather(worldSize: Int) throws {
    let ranks = try Ranks.inMemory(worldSize, seed: 5)
    defer { ranks.close() }
    let counts = (0..<worldSize).map { $0 == 1 ? 0 : 600_000 * ($0 + 1) }
    let results = ranks.run { rank, mesh in
      var gathered: [[UInt8]] = []
      for step in 0..<2 {
        let block = [UInt8](repeating: UInt8(rank * 16 + step), count: counts[rank])
        gathered.append(
          try block.withUnsafeBytes { try mesh.allGather(step: UInt64(step), block: $0, byteCounts: counts) })
      }
      return gathered
    }
    for result in results {
      let gathered = try result.get()
      for step in 0..<2 {
        let expected = (0..<worldSize).flatMap { [UInt8](repeating: UInt8($0 * 16 + step), count: counts[$0]) }
        #expect(gathered[step] == expected)
      }
    }
  }

  @Test("ranges that are no assignment of all shards are refused with the ranges in the message")
  func wrongRanges() throws {
    let ranks = try Ranks.inMemory(2)
    defer { ranks.close() }
    let layout = try layout(64, buckets: 1)
    for ranges in [[0..<4, 5..<8], [0..<4, 4..<7], [0..<5, 4..<8], [0..<8]] {
      let results = ranks.run(generation: 1) { _, mesh in
        _ = try AllReduce(mesh: mesh, layout: layout, ranges: ranges, shardCount: 8)
      }
      for result in results { #expect(throws: CommunicationError.self) { try result.get() } }
    }
  }
}
