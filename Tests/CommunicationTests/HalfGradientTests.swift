// Gradients that travel as halves: the bits of the plain recursion with every node rounded, for any assignment.
import Testing

@testable import Communication

@Suite("Gradients as halves", .serialized)
struct HalfGradientTests {
  private static func kept(_ value: Float, _ scale: Float) -> Float { Float(Float16(value * scale)) / scale }

  private static func node(_ first: Int, _ count: Int, _ element: Int, _ scale: Float) -> Float {
    // Small enough not to overflow, with more bits than a half has.
    if count == 1 { return kept(Reference.leaf(first, element) * 0x1p-9, scale) }
    let half = count / 2
    return kept(node(first, half, element, scale) + node(first + half, half, element, scale), scale)
  }

  private static func value(_ first: Int, _ count: Int, _ element: Int, gradients: Int, _ scale: Float) -> Float {
    element < gradients && scale != 0
      ? node(first, count, element, scale) : Reference.node(first, count, element)
  }

  @Test(
    "any assignment gives the bits of the recursion that rounds every node", arguments: 1...6, [0, 1, 1_024] as [Float])
  func anyAssignment(worldSize: Int, scale: Float) throws {
    let ranks = try Ranks.inMemory(worldSize, seed: UInt64(worldSize))
    defer { ranks.close() }
    for (index, gradients) in [16, 1_000, 5_000].enumerated() {
      let count = gradients + 40
      let layout = try ReductionLayout(
        sumCount: count, buckets: [gradients..<count, gradients / 2..<gradients, 0..<gradients / 2], maximumCount: 2,
        gradientCount: gradients)
      let ranges = Reference.ranges(worldSize, shardCount: 8, seed: index)
      let all = try ranks.run(generation: UInt64(index + 1)) { rank, mesh in
        let allReduce = try AllReduce(
          mesh: mesh, layout: layout, ranges: ranges, shardCount: 8, half: .plain)
        return try (0..<3).map { step -> [UInt32] in
          // Phases change from step to step: halves, floats, halves.
          let scale = step == 1 ? 0 : scale
          let buffers = Buffers(allReduce, layout, rank: rank, step: step) { piece, values in
            for element in 0..<count {
              values[element] = Self.value(piece.first, piece.count, element, gradients: gradients, scale)
            }
          }
          allReduce.begin(
            step: UInt64(step), pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima,
            halfScale: scale)
          for bucket in layout.buckets.indices { allReduce.submit(bucket: bucket) }
          allReduce.submitMaxima()
          try allReduce.wait()
          return buffers.sums.map(\.bitPattern)
        }
      }.map { try $0.get() }
      for step in 0..<3 {
        let scale = step == 1 ? 0 : scale
        let expected = (0..<count).map { Self.value(0, 8, $0, gradients: gradients, scale).bitPattern }
        for rank in 0..<worldSize {
          #expect(all[rank][step] == expected, "rank \(rank) of \(worldSize), step \(step), scale \(scale)")
        }
      }
    }
  }
}
