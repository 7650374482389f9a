// Random numbers, permutations, apportionment, exact functions.

import Foundation
import Testing

@testable import Data

@Suite("numbers that are the same everywhere")
struct RandomTests {
  @Test("exp, log, sine and cosine agree with the C library to 1e-13")
  func exactMath() {
    for i in -2_000...2_000 {
      let x = Double(i) * 0.317
      #expect(abs(ExactMath.exp(x) / Foundation.exp(x) - 1) < 1e-13, "exp \(x)")
      let y = Foundation.exp(Double(i) * 0.011)
      #expect(abs(ExactMath.log(y) - Foundation.log(y)) <= 1e-13 * max(1, abs(Foundation.log(y))), "log \(y)")
      let turns = Double(i) * 0.00717
      #expect(abs(ExactMath.cosine(turns: turns) - Foundation.cos(2 * .pi * turns)) < 1e-13, "cosine \(turns)")
      #expect(abs(ExactMath.sine(turns: turns) - Foundation.sin(2 * .pi * turns)) < 1e-13, "sine \(turns)")
    }
    #expect(ExactMath.log(1) == 0 && ExactMath.exp(0) == 1 && ExactMath.cosine(turns: 0) == 1)
    #expect([0.25, 0.5, 0.75].map { ExactMath.cosine(turns: $0) } == [0, -1, 0])
  }

  @Test("a stream is frozen: checkpoints and data sets depend on these bits")
  func frozen() {
    let random = CounterRandom(seed: 1, .sampleOrder, 2, 3, 4, 5)
    #expect(
      (0..<3).map { random.bits($0) } == [
        5_643_599_959_946_115_028, 5_978_039_376_317_190_165, 9_464_566_815_486_103_542,
      ])
    #expect((0..<2).map { random.normal($0) } == [-0.383538946775145, 0.9974675707464042])
  }

  @Test("every coordinate, the purpose and the seed change the stream")
  func coordinates() {
    var streams: Set<UInt64> = []
    for coordinate in 0..<4 {
      for value in -50..<50 where value != 0 {
        var at = [0, 0, 0, 0]
        at[coordinate] = value
        streams.insert(CounterRandom(seed: 7, .augmentation, at[0], at[1], at[2], at[3]).bits(0))
      }
    }
    for seed in 0..<100 { streams.insert(CounterRandom(seed: UInt64(seed), .augmentation).bits(0)) }
    streams.insert(CounterRandom(seed: 7, .calibration).bits(0))
    #expect(streams.count == 4 * 99 + 100 + 1)
  }

  @Test("uniform and normal numbers have the moments of their distributions")
  func moments() {
    let random = CounterRandom(seed: 3, .initialization)
    let n = 20_000
    // Five standard errors of the mean and of the second moment.
    let uniform = (0..<n).map { Double(random.float($0)) }
    #expect(uniform.allSatisfy { (0..<1).contains($0) })
    #expect(abs(uniform.reduce(0, +) / Double(n) - 0.5) < 5 * (1 / 12.0 / Double(n)).squareRoot())
    let normal = (0..<n).map { random.normal($0) }
    #expect(abs(normal.reduce(0, +) / Double(n)) < 5 / Double(n).squareRoot())
    #expect(abs(normal.reduce(0) { $0 + $1 * $1 } / Double(n) - 1) < 5 * (2 / Double(n)).squareRoot())
    #expect(normal.allSatisfy { $0.isFinite })
    var counts = [0, 0, 0]
    for i in 0..<n { counts[random.integer(i, below: 3)] += 1 }
    for count in counts { #expect(abs(Double(count) - Double(n) / 3) < 5 * (2.0 / 9 * Double(n)).squareRoot()) }
  }

  @Test("a permutation meets every element once", arguments: [1, 2, 3, 4, 5, 15, 16, 17, 64, 65, 1_000, 16_000])
  func permutation(count: Int) {
    let order = Permutation(count: count, random: CounterRandom(seed: 1, .sampleOrder, count))
    #expect((0..<count).map { order[$0] }.sorted() == Array(0..<count))
  }

  @Test("permutations of other keys are unrelated")
  func permutationKeys() {
    let count = 1_000
    let orders = (0..<20).map { Permutation(count: count, random: CounterRandom(seed: 1, .sampleOrder, $0)) }
    for other in orders[1...] {
      // A random permutation agrees with another at one position on average, Poisson.
      #expect((0..<count).filter { orders[0][$0] == other[$0] }.count <= 8)
    }
    // All 24 orders of 4 elements occur.
    let small = Set(
      (0..<2_000).map { key in
        let order = Permutation(count: 4, random: CounterRandom(seed: 1, .sampleOrder, key))
        return (0..<4).map { order[$0] }
      })
    #expect(small.count == 24)
  }

  @Test("largest remainders give exact totals and never miss a quota by one")
  func apportionment() {
    #expect(Apportionment.largestRemainder(shares: [92, 3, 2, 2, 1], total: 16_000) == [14_720, 480, 320, 320, 160])
    #expect(Apportionment.largestRemainder(shares: [1, 1, 1], total: 5) == [2, 2, 1])
    #expect(Apportionment.largestRemainder(shares: [0, 1], total: 3) == [0, 3])
    for total in 0..<50 {
      let shares = [0.5, 0.125, 0.2, 0.175]
      let counts = Apportionment.largestRemainder(shares: shares, total: total)
      #expect(counts.reduce(0, +) == total)
      for (count, share) in zip(counts, shares) { #expect(abs(Double(count) - share * Double(total)) < 1) }
    }
  }

  @Test("interleaving spreads every index evenly over every prefix")
  func interleaving() {
    for counts in [[4, 1, 1, 1, 1], [500, 125, 125, 125, 125], [7, 0, 3], [1], [3, 3, 3]] {
      let total = counts.reduce(0, +)
      let order = Apportionment.interleave(counts: counts)
      var seen = counts.map { _ in 0 }
      for (position, index) in order.enumerated() {
        seen[index] += 1
        for (count, target) in zip(seen, counts) {
          let fair = Double(target) * Double(position + 1) / Double(total)
          #expect(abs(Double(count) - fair) < 2, "\(counts) at \(position)")
        }
      }
      #expect(seen == counts)
    }
  }
}
