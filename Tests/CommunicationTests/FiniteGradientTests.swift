// Whether the reduced gradient is finite: found by whoever sums or copies, the same on every rank.
import Testing

@testable import Communication

@Suite("Finite gradients", .serialized)
struct FiniteGradientTests {
  /// Gradients and a tail of sums that are none.
  private static let gradientCount = 5_000
  private static let sumCount = 5_037

  /// A step of every rank for each place, in which all partial sums are 1 but the first rank's first at that place.
  private func answers(worldSize: Int, places: [Int?], value: Float, halfScale: Float) throws -> [[Bool]] {
    let ranks = try Ranks.inMemory(worldSize)
    defer { ranks.close() }
    let (count, gradients) = (Self.sumCount, Self.gradientCount)
    let layout = try ReductionLayout(
      sumCount: count, buckets: [gradients..<count, 1_700..<gradients, 0..<1_700], maximumCount: 0,
      gradientCount: gradients)
    return try ranks.run { rank, mesh in
      let allReduce = try AllReduce(
        mesh: mesh, layout: layout, ranges: Reference.ranges(worldSize, shardCount: 8, seed: 0), shardCount: 8,
        half: .plain)
      return try places.enumerated().map { step, place in
        let buffers = Buffers(allReduce, layout, rank: rank, step: step) { piece, values in
          for element in 0..<count { values[element] = 1 }
          if let place, piece.first == 0 { values[place] = value }
        }
        allReduce.begin(
          step: UInt64(step), pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima,
          halfScale: halfScale)
        for bucket in layout.buckets.indices { allReduce.submit(bucket: bucket) }
        allReduce.submitMaxima()
        return try allReduce.wait()
      }
    }.map { try $0.get() }
  }

  @Test(
    "one value that is not finite is found wherever it is, by every rank, in that step alone", arguments: [1, 2, 3, 5],
    [0, 1] as [Float])
  func found(worldSize: Int, halfScale: Float) throws {
    // Both ends of every bucket, of blocks of 1,024 and of the parts that ranks own; then a step without.
    let places: [Int?] = [0, 15, 16, 1_023, 1_024, 1_699, 1_700, 2_723, 3_350, 4_984, 4_999].flatMap { [$0, nil] }
    for value in [Float.nan, .infinity, -.infinity] {
      for answer in try answers(worldSize: worldSize, places: places, value: value, halfScale: halfScale) {
        #expect(answer == places.map { $0 == nil }, "\(value)")
      }
    }
  }

  @Test("statistics and counts are not gradients", arguments: [1, 3])
  func tail(worldSize: Int) throws {
    let places = [5_000, 5_020, 5_036]
    for answer in try answers(worldSize: worldSize, places: places, value: .nan, halfScale: 0) {
      #expect(answer == [true, true, true])
    }
  }

  @Test("finite summands whose sum is not", arguments: [2, 4])
  func overflow(worldSize: Int) throws {
    let ranks = try Ranks.inMemory(worldSize)
    defer { ranks.close() }
    let layout = try ReductionLayout(sumCount: 40, buckets: [0..<40], maximumCount: 0, gradientCount: 40)
    let answers = try ranks.run { rank, mesh in
      let allReduce = try AllReduce(
        mesh: mesh, layout: layout, ranges: Reference.ranges(worldSize, shardCount: 8, seed: 0), shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0) { _, values in
        for element in 0..<40 { values[element] = element == 38 ? 3e38 : 1 }
      }
      allReduce.begin(step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima)
      allReduce.submit(bucket: 0)
      allReduce.submitMaxima()
      return try allReduce.wait()
    }.map { try $0.get() }
    #expect(answers == [Bool](repeating: false, count: worldSize))
  }
}
