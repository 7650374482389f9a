// Shard ranges, the restart budget and the step clock: values without surroundings.
import Communication
import Coordinator
import Testing

@Suite struct SpeedPlanTests {
  @Test(
    "a machine half as fast gets half the shards",
    arguments: [
      (64, [1, 0.5], [43, 21]), (8, [1, 0.5], [6, 2]), (64, [0.5, 1, 1, 1], [10, 18, 18, 18]),
      (64, [1, 1, 0.25], [28, 28, 8]), (4, [1, 0.01], [3, 1]), (2, [0.001, 1], [1, 1]),
    ] as [(Int, [Double], [Int])])
  func proportional(shardCount: Int, speeds: [Double], expected: [Int]) {
    let counts = ShardPlanner.ranges(shardCount: shardCount, speeds: speeds).map(\.count)
    func time(_ counts: [Int]) -> Double { zip(counts, speeds).map { Double($0) / $1 }.max() ?? 0 }
    #expect(time(counts) <= time(expected) * 1.0000001, "\(counts)")
    #expect(counts.reduce(0, +) == shardCount && counts.allSatisfy { $0 > 0 })
  }

  @Test("no other assignment of few shards makes a shorter step")
  func optimal() {
    let speeds = [1.0, 0.37, 0.62]
    func time(_ counts: [Int]) -> Double { zip(counts, speeds).map { Double($0) / $1 }.max() ?? 0 }
    let planned = time(ShardPlanner.ranges(shardCount: 16, speeds: speeds).map(\.count))
    for first in 1...14 {
      for second in 1...(15 - first) { #expect(planned <= time([first, second, 16 - first - second]) + 1e-9) }
    }
  }

  @Test("speeds come from times per shard: unknown is average, ten per cent is noise")
  func speeds() {
    #expect(ShardPlanner.speeds(of: [nil, nil]) == [1, 1])
    #expect(ShardPlanner.speeds(of: [.milliseconds(10), .milliseconds(20)]) == [100, 50])
    #expect(ShardPlanner.speeds(of: [.milliseconds(10), .microseconds(10_900)]) == [100, 100])
    #expect(ShardPlanner.speeds(of: [.milliseconds(10), nil, .milliseconds(20)]) == [100, 75, 50])
    #expect(ShardPlanner.speeds(of: [.milliseconds(10), .zero]) == [100, 100])
  }
}

@Suite struct PlannerTests {
  @Test("shard ranges cover every shard once, in order, and the largest is as small as can be")
  func coverage() {
    for shardCount in [1, 2, 4, 8, 16, 32, 64] {
      for workerCount in 1...min(shardCount, 17) {
        let ranges = ShardPlanner.ranges(shardCount: shardCount, workerCount: workerCount)
        #expect(ranges.count == workerCount)
        #expect(ranges.flatMap { Array($0) } == Array(0..<shardCount))
        #expect(ranges.map(\.count).max() == (shardCount + workerCount - 1) / workerCount)
      }
    }
  }

  @Test(
    "a number of workers that divides the shards gets aligned subtrees: one partial sum each",
    arguments: [(8, 1), (8, 2), (8, 4), (8, 8), (16, 4), (64, 8)])
  func aligned(shardCount: Int, workerCount: Int) {
    let ranges = ShardPlanner.ranges(shardCount: shardCount, workerCount: workerCount)
    #expect(ranges.allSatisfy { $0.count == shardCount / workerCount && ShardPlanner.pieceCount(of: $0) == 1 })
  }

  @Test("ranges that cannot be aligned send as few partial sums as possible")
  func unaligned() {
    #expect(ShardPlanner.ranges(shardCount: 8, workerCount: 3) == [0..<2, 2..<5, 5..<8])
    #expect(ShardPlanner.ranges(shardCount: 8, workerCount: 5) == [0..<1, 1..<2, 2..<4, 4..<6, 6..<8])
    #expect(ShardPlanner.ranges(shardCount: 8, workerCount: 6).allSatisfy { ShardPlanner.pieceCount(of: $0) == 1 })
  }

  @Test(
    "pieces are the maximal aligned subtrees of a range",
    arguments: [(0..<8, 1), (0..<3, 2), (3..<6, 2), (1..<8, 3), (5..<6, 1), (1..<7, 4), (6..<8, 1), (0..<7, 3)])
  func pieceCount(range: Range<Int>, count: Int) { #expect(ShardPlanner.pieceCount(of: range) == count) }

  @Test("pieces are counted as Communication cuts them")
  func piecesOfCommunication() {
    for first in 0..<32 {
      for end in first + 1...32 {
        let pieces = ShardTree.pieces(of: first..<end, shardCount: 32)
        #expect(ShardPlanner.pieceCount(of: first..<end) == pieces.count)
      }
    }
  }

  @Test("a budget pays for five restarts, each after a longer wait, and a committed step fills it up")
  func budget() {
    var budget = RestartBudget()
    let delays = (0..<6).map { _ in budget.pay() }
    #expect(delays == [.zero, .milliseconds(250), .milliseconds(500), .seconds(1), .seconds(2), nil])
    budget.refill()
    #expect(budget.pay() == .zero)
  }

  @Test("the median step time ignores the one step that waited")
  func median() {
    var clock = StepClock()
    #expect(clock.median == nil)
    var now = Instant(.zero)
    for step in 1...9 {
      now = now + (step == 5 ? .seconds(60) : .seconds(1))
      clock.note(step: UInt64(step), at: now)
    }
    #expect(clock.median == .seconds(1))
    clock.pause()
    clock.note(step: 20, at: now + .seconds(1000))
    #expect(clock.median == .seconds(1))
  }

  @Test("steps between two signs of life share the time")
  func shared() {
    var clock = StepClock()
    clock.note(step: 1, at: Instant(.zero))
    clock.note(step: 5, at: Instant(.seconds(2)))
    #expect(clock.median == .milliseconds(500))
  }
}
