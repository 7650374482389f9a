// The fork-join pool.

import Synchronization
import Testing

@testable import Training

@Suite("Thread pool")
struct ThreadPoolTests {
  @Test("every part of every task runs exactly once before run returns", arguments: [1, 2, 3, 5], [1, 3, 8])
  func runsEveryPart(threads: Int, parts: Int) {
    let pool = ThreadPool(threadCount: threads)
    let counts = (0..<parts).map { _ in Counter() }
    for round in 1...300 {
      pool.run(parts: parts) { share in
        if share.parts == parts, (0..<threads).contains(share.thread) {
          counts[share.part].value.add(1, ordering: .relaxed)
        }
      }
      #expect(counts.allSatisfy { $0.value.load(ordering: .relaxed) == round })
    }
  }

  @Test("a pool that slept between two tasks wakes up")
  func wakesUp() async throws {
    let pool = ThreadPool(threadCount: 2)
    let counter = Counter()
    for _ in 0..<3 {
      pool.run(parts: 2) { _ in counter.value.add(1, ordering: .relaxed) }
      try await Task.sleep(for: .milliseconds(5))
    }
    #expect(counter.value.load(ordering: .relaxed) == 6)
  }
}

private final class Counter: Sendable {
  let value = Atomic<Int>(0)
}
