// Sums that stay with who makes them: `AllReduce.begin(finishing:)`.
import Synchronization
import Testing

@testable import Communication

@Suite("Sums that are finished where they are made", .serialized)
struct FinishedSumsTests {
  private static let gradientCount = 300_000
  private static let sumCount = 300_040

  /// What a rank got in a step.
  private struct Answer: Sendable {
    var isFinite: Bool
    var finished: [Range<Int>]
    /// Elements of `finished` ranges that differ from the reference, as they stood when the range was finished.
    var wrong: Int
    var tail: [UInt32]
  }

  private func layout() throws -> ReductionLayout {
    let (count, gradients) = (Self.sumCount, Self.gradientCount)
    return try ReductionLayout(
      sumCount: count, buckets: [gradients..<count, 17_000..<gradients, 0..<17_000], maximumCount: 0,
      gradientCount: gradients)
  }

  private func answers(worldSize: Int, steps: Int = 2, notFinite: Int? = nil, halfScale: Float = 0) throws -> [[Answer]]
  {
    let ranks = try Ranks.inMemory(worldSize, seed: UInt64(worldSize))
    defer { ranks.close() }
    let layout = try layout()
    return try ranks.run { rank, mesh in
      let allReduce = try AllReduce(
        mesh: mesh, layout: layout, ranges: Reference.ranges(worldSize, shardCount: 8, seed: 1), shardCount: 8,
        half: .plain)
      return try (0..<steps).map { step in
        let buffers = Buffers(allReduce, layout, rank: rank, step: step)
        if let notFinite, step == 0 { buffers.pieces.first?[notFinite] = .infinity }
        let seen = Mutex<(ranges: [Range<Int>], wrong: Int)>(([], 0))
        let result = buffers.result
        allReduce.begin(
          step: UInt64(step), pieces: buffers.pieces, result: result, maxima: buffers.maxima, halfScale: halfScale
        ) { range, sums in
          let wrong = range.count {
            sums[$0 - range.lowerBound] != Reference.node(0, 8, $0 + step * 1_000_003)
          }
          seen.withLock {
            $0.ranges.append(range)
            $0.wrong += wrong
          }
        }
        for bucket in layout.buckets.indices { allReduce.submit(bucket: bucket) }
        allReduce.submitMaxima()
        let isFinite = try allReduce.wait()
        return seen.withLock {
          Answer(
            isFinite: isFinite, finished: $0.ranges, wrong: $0.wrong,
            tail: (Self.gradientCount..<Self.sumCount).map { result[$0].bitPattern })
        }
      }
    }.map { try $0.get() }
  }

  @Test(
    "the ranks' ranges are the gradient, each summed when it is finished; the tail goes to all",
    arguments: [1, 2, 3, 5])
  func coverage(worldSize: Int) throws {
    let all = try answers(worldSize: worldSize)
    for step in 0..<2 {
      let finished = all.flatMap { $0[step].finished }.sorted { $0.lowerBound < $1.lowerBound }
      #expect(finished.first?.lowerBound == 0 && finished.last?.upperBound == Self.gradientCount)
      #expect(zip(finished, finished.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      for answer in all {
        #expect(answer[step].wrong == 0 && answer[step].isFinite && !answer[step].finished.isEmpty)
        let tail = (Self.gradientCount..<Self.sumCount).map { Reference.node(0, 8, $0 + step * 1_000_003).bitPattern }
        #expect(answer[step].tail == tail)
      }
    }
  }

  @Test("every rank hears of a sum that is not finite, in that step alone", arguments: [0, 16_999, 17_000, 299_999])
  func notFinite(place: Int) throws {
    for answer in try answers(worldSize: 3, notFinite: place) { #expect(answer.map(\.isFinite) == [false, true]) }
  }

  @Test("a rank that sends its sums to ranks that keep theirs breaks the rules, and is named")
  func disagreement() throws {
    let ranks = try Ranks.inMemory(2)
    defer { ranks.close() }
    let layout = try layout()
    let results = ranks.run { rank, mesh in
      let allReduce = try AllReduce(mesh: mesh, layout: layout, ranges: [0..<4, 4..<8], shardCount: 8)
      let buffers = Buffers(allReduce, layout, rank: rank, step: 0)
      allReduce.begin(
        step: 0, pieces: buffers.pieces, result: buffers.result, maxima: buffers.maxima,
        finishing: rank == 0 ? { _, _ in } : nil)
      for bucket in layout.buckets.indices { allReduce.submit(bucket: bucket) }
      allReduce.submitMaxima()
      return try allReduce.wait()
    }
    let errors = results.compactMap { result -> CommunicationError? in
      guard case .failure(let error) = result else { return nil }
      return error as? CommunicationError
    }
    #expect(errors.count == 2)
    #expect(errors.contains { $0.code == .protocolViolation && $0.description.contains("has no place here") })
  }

  @Test("a buffer is found by its address, also when its maker has let it go; by a wrong one it is not")
  func address() throws {
    var made = SharedBuffer(count: 1_000_000)
    var address = try #require(made?.address)
    #expect(address.count == SharedBuffer.addressByteCount)
    let found = try #require(SharedBuffer(address: address, count: 1_000_000))
    found.pointer[999_999] = 7
    #expect(made?.pointer[999_999] == 7)
    #expect(found.address.isEmpty)
    #expect(SharedBuffer(address: address, count: 999_999) == nil)
    #expect(SharedBuffer(address: address.dropLast(), count: 1_000_000) == nil)
    made = nil
    #expect(found.pointer[999_999] == 7)
    #expect(SharedBuffer(address: address, count: 1_000_000) == nil)
    address[9] ^= 1
    #expect(SharedBuffer(address: address, count: 1_000_000) == nil)
  }
}
