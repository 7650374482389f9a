// A coordinator and scripted workers under random kills, freezes, hangs, joins and restarts of the coordinator, with
// invariants checked after every decision. Deterministic: the seed decides everything.
import Coordinator
import RunStore
import Testing

/// SplitMix64.
private struct Dice: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

@Suite struct SimulationTests {
  @Test(
    "whatever is killed, the jobs finish and every decision keeps the invariants",
    arguments: 1...8 as ClosedRange<UInt64>)
  func chaos(seed: UInt64) {
    var dice = Dice(state: seed)
    var bench = Bench()
    bench.finishAt = 150
    let jobs = [bench.job(JobSettings(minimumWorkers: 2)), bench.job()]
    var next: UInt64 = 1
    for _ in 0..<3 {
      bench.start(next)
      next += 1
    }
    for _ in 0..<400 where !jobs.allSatisfy({ bench.states(of: $0).last?.isOver == true }) {
      bench.wait(.milliseconds(Int.random(in: 200...9000, using: &dice)))
      for connection in bench.scripted.keys { bench.scripted[connection]?.isFrozen = false }
      let alive = bench.scripted.keys.sorted()
      let victim = alive.randomElement(using: &dice)
      switch Int.random(in: 0..<8, using: &dice) {
      case 0, 1:
        if let victim { bench.kill(victim.rawValue) }
      case 2:
        if let victim { bench.scripted[victim]?.isFrozen = true }
      case 3 where !bench.scripted.values.contains { $0.hangs }:
        if let victim { bench.scripted[victim]?.hangs = true }
      default:
        guard alive.count < 6 else { continue }
        bench.start(next)
        next += 1
      }
    }
    for job in jobs { #expect(bench.states(of: job).last == .finished, "\(bench.reason(job))") }
    #expect(bench.generations.count > 5, "something happened")
    check(bench)
  }

  private func check(_ bench: Bench) {
    for effects in bench.decisions {
      let firstOther = effects.firstIndex { if case .persist = $0 { false } else { true } } ?? effects.count
      #expect(effects[firstOther...].allSatisfy { if case .persist = $0 { false } else { true } })
    }
    var open: [JobID: UInt64] = [:]
    var last: [JobID: UInt64] = [:]
    for change in bench.persisted {
      switch change {
      case .generationBegan(let record):
        #expect(record.number == (last[record.job] ?? 0) + 1, "numbers go up by one")
        #expect(open[record.job] == nil, "one generation of a job at a time")
        #expect(record.members.flatMap { Array($0.shards) } == Array(0..<8), "every shard is somebody's")
        #expect(Set(record.members.map(\.worker)).count == record.members.count)
        last[record.job] = record.number
        open[record.job] = record.number
      case .generationEnded(let job, let number, _):
        #expect(open[job] == number)
        open[job] = nil
      case .generationStarted(let job, let number): #expect(open[job] == number)
      default: break
      }
    }
    #expect(open.isEmpty)
  }

  @Test("the same events at the same times give the same decisions")
  func deterministic() {
    func run() -> [[Effect]] {
      var bench = Bench()
      bench.finishAt = 40
      bench.job()
      for number in 1...5 as ClosedRange<UInt64> { bench.start(number) }
      bench.wait(.seconds(3))
      bench.kill(2)
      bench.kill(4)
      bench.start(9)
      bench.wait(.seconds(20))
      return bench.decisions
    }
    #expect(run() == run())
  }
}
