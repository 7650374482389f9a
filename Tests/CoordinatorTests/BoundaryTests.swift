// Ends that are announced ahead: newcomers, shards that follow speeds, workers that go to other jobs.
import Coordinator
import RunStore
import Testing

@Suite struct BoundaryTests {
  /// Steps that were committed before the last order to stop, and the step it named.
  private func stops(_ bench: Bench, _ number: UInt64) -> [UInt64] {
    bench.orders[ConnectionID(number)]?.compactMap { order in
      if case .stop(_, let step, _) = order { step } else { nil }
    } ?? []
  }

  @Test("a newcomer fetches the data while the others go on, and joins at a step announced at least two ahead")
  func newcomer() throws {
    var bench = Bench()
    bench.job()
    bench.start(1)
    bench.wait(.seconds(4))
    bench.start(2, loadTime: .seconds(10))
    let before = try #require(bench.scripted[ConnectionID(1)]?.step)
    bench.wait(.seconds(9))
    #expect(bench.generations.count == 1, "its data is not there yet")
    let during = try #require(bench.scripted[ConnectionID(1)]?.step)
    #expect(during > before + 30, "nobody waits for it")
    bench.wait(.seconds(4))
    #expect(bench.generations.map { $0.members.map(\.worker.rawValue) } == [[1], [1, 2]])
    let announced = try #require(stops(bench, 1).first)
    #expect(announced >= during + 2)
    let joined = bench.orders[ConnectionID(2)]?.compactMap { order -> UInt64? in
      if case .sync(_, let step, .peer(rank: 0)) = order { step } else { nil }
    }
    #expect(joined == [announced], "every step up to the announced one counts, none after it")
    #expect(bench.logs.contains { $0.contains("ms after the last step of generation 1") })
  }

  @Test("a newcomer that dies while it fetches the data disturbs nobody")
  func newcomerDies() {
    var bench = Bench()
    bench.job()
    bench.start(1)
    bench.wait(.seconds(4))
    bench.start(2, loadTime: .seconds(10))
    bench.wait(.seconds(3))
    bench.kill(2)
    bench.wait(.seconds(20))
    #expect(bench.generations.count == 1)
    #expect(stops(bench, 1).isEmpty)
  }

  @Test("survivors of a loss do not wait for the data of a newcomer")
  func survivorsGoOn() {
    var bench = Bench()
    bench.job(JobSettings(maximumWorkers: 3))
    bench.start(1)
    bench.start(2)
    bench.wait(.seconds(4))
    bench.start(3, loadTime: .seconds(30))
    bench.wait(.seconds(2))
    bench.kill(2)
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1)])
    bench.wait(.seconds(40))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1), WorkerID(3)])
  }

  @Test("members that stop one step apart are not left waiting for each other")
  func oneStepApart() {
    var bench = Bench()
    bench.job(JobSettings(maximumWorkers: 3))
    bench.start(1)
    bench.start(2)
    bench.wait(.seconds(4))
    bench.start(3)
    bench.wait(.milliseconds(1100))
    bench.scripted[ConnectionID(2)]?.stop = nil  // its order comes too late
    bench.wait(.seconds(5))
    #expect(bench.generations.last?.members.count == 3)
    #expect(bench.generations.count == 2)
  }

  @Test("shards follow the measured speeds after a while, once, and equal speeds move nothing")
  func speeds() {
    var bench = Bench()
    bench.job(JobSettings(shardCount: 64, maximumWorkers: 2))
    bench.start(1)
    bench.start(2)
    bench.scripted[ConnectionID(1)]?.shardTime = .milliseconds(10)
    bench.scripted[ConnectionID(2)]?.shardTime = .milliseconds(20)
    bench.wait(.seconds(4))
    #expect(bench.generations.map { $0.members.map(\.shards.count) } == [[32, 32]])
    bench.wait(.seconds(20))
    #expect(bench.generations.map { $0.members.map(\.shards.count) } == [[32, 32], [43, 21]])
    #expect(bench.logs.contains { $0.contains("shards follow the measured speeds, for steps 33 % shorter") })
    bench.wait(.seconds(120))
    #expect(bench.generations.count == 2)
  }

  @Test("a gain that was in sight before and after a pause was not in sight all the while")
  func replanningAfterPause() {
    func moves(at seconds: [Int]) -> Bool {
      var policy = ReplanPolicy()
      return seconds.contains { second in
        let now = Instant(.seconds(second))
        return policy.looks(at: now) && policy.moves(from: .milliseconds(20), to: .milliseconds(10), at: now)
      }
    }
    #expect(!moves(at: [0, 1, 2, 3, 4]))
    #expect(moves(at: [0, 1, 2, 3, 4, 5]))
    #expect(!moves(at: [0, 1, 2, 8, 9, 10, 11, 12]), "frozen for six seconds")
    #expect(moves(at: [0, 1, 2, 8, 9, 10, 11, 12, 13]))
  }

  @Test("speeds that change back and forth move shards less and less often")
  func replanningBudget() {
    var bench = Bench()
    bench.job(JobSettings(maximumWorkers: 2))
    bench.start(1)
    bench.start(2)
    var slow = false
    for _ in 0..<60 {
      slow.toggle()
      bench.scripted[ConnectionID(1)]?.shardTime = .milliseconds(slow ? 40 : 10)
      bench.scripted[ConnectionID(2)]?.shardTime = .milliseconds(slow ? 10 : 40)
      bench.wait(.seconds(10))
    }
    #expect((3...7).contains(bench.generations.count), "10 minutes: moves after 0, 30, 60, 120, 240 s of waiting")
  }

  @Test("two jobs of one priority share the pool evenly, whoever came first")
  func fairShare() {
    var bench = Bench()
    let first = bench.job()
    for number in 1...4 as ClosedRange<UInt64> { bench.start(number) }
    bench.wait(.seconds(8))
    #expect(bench.generations.map(\.members.count) == [4])
    let second = bench.job()
    bench.wait(.seconds(3))
    #expect(bench.generations.map(\.job) == [first, first, second])
    #expect(bench.generations.map(\.members.count) == [4, 2, 2])
    #expect(bench.reason(first).hasPrefix("generation 2: 2 workers"))
    #expect(bench.logs.contains("generation 1 ends: 2 of 4 workers go to other jobs"))
    let stop = stops(bench, 1).first
    #expect(stop.map { $0 > 0 } == true, "announced, so no step is lost")
    bench.wait(.seconds(30))
    #expect(bench.generations.count == 3, "and there it stays")
  }

  @Test("a job of a higher priority takes all but the minimum of the others, and gives it back at its end")
  func priority() {
    var bench = Bench()
    let low = bench.job(JobSettings(minimumWorkers: 1))
    for number in 1...3 as ClosedRange<UInt64> { bench.start(number) }
    bench.wait(.seconds(8))
    let high = bench.job(JobSettings(minimumWorkers: 1, maximumWorkers: 8, priority: 10))
    bench.wait(.seconds(10))
    #expect(bench.generations.last { $0.job == high }?.members.count == 2)
    #expect(bench.generations.last { $0.job == low }?.members.count == 1)
    bench.send(.control(RequestID(99), high, .kill))
    bench.wait(.seconds(10))
    #expect(bench.generations.last { $0.job == low }?.members.count == 3)
  }

  @Test("a job whose minimum a higher one needs stores a checkpoint before it yields, and comes back")
  func yields() {
    var bench = Bench()
    let low = bench.job(JobSettings(minimumWorkers: 2))
    bench.start(1)
    bench.start(2)
    bench.wait(.seconds(8))
    let high = bench.job(JobSettings(minimumWorkers: 1, maximumWorkers: 2, priority: 1))
    bench.wait(.seconds(5))
    #expect(bench.generations.last?.job == high)
    #expect(bench.states(of: low).last == .queued)
    #expect(bench.persisted.contains { if case .checkpoint(let record) = $0 { record.job == low } else { false } })
    bench.send(.control(RequestID(99), high, .kill))
    bench.wait(.seconds(3))
    #expect(bench.generations.last?.job == low)
    #expect(bench.verifying == [low], "it goes on from its checkpoint")
  }

  @Test("a job that asks for more than there is does not stop the others")
  func tooLarge() {
    var bench = Bench()
    let low = bench.job()
    bench.start(1)
    bench.start(2)
    bench.wait(.seconds(8))
    bench.job(JobSettings(minimumWorkers: 8, priority: 5))
    bench.wait(.seconds(20))
    #expect(bench.generations.count == 1)
    #expect(bench.reason(low).hasPrefix("generation 1: 2 workers"))
  }
}

@Suite struct FairShareTests {
  private typealias Claim = FairShare.Claim

  @Test("shares of small pools")
  func table() {
    #expect(FairShare.shares(idle: 0, among: []) == [])
    #expect(FairShare.shares(idle: 5, among: [Claim()]) == [5])
    #expect(FairShare.shares(idle: 5, among: [Claim(), Claim()]) == [3, 2])
    #expect(FairShare.shares(idle: 1, among: [Claim(), Claim()]) == [1, 0])
    #expect(FairShare.shares(idle: 12, among: [Claim(), Claim(capacity: 2)]) == [8, 2])
    #expect(FairShare.shares(idle: 6, among: [Claim(priority: 1, capacity: 4), Claim(), Claim()]) == [4, 1, 1])
    #expect(FairShare.shares(idle: 1, among: [Claim(minimum: 2), Claim()]) == [1, 0], "what is idle is held")
    #expect(
      FairShare.shares(idle: 0, among: [Claim(priority: 1, minimum: 8), Claim(held: 3)]) == [0, 3],
      "what runs is left alone")
  }

  @Test("no pool is overdrawn, no capacity exceeded, nothing left over that somebody could use")
  func invariants() {
    for idle in 0...6 {
      for minimum in 1...3 {
        for held in 0...3 {
          let claims = [
            Claim(priority: 2, minimum: minimum, capacity: 4, held: held), Claim(minimum: 1, capacity: 2, held: 1),
            Claim(minimum: 2, capacity: 3),
          ]
          let shares = FairShare.shares(idle: idle, among: claims)
          let pool = idle + held + 1
          #expect(shares.reduce(0, +) <= pool)
          for (share, claim) in zip(shares, claims) { #expect((0...claim.capacity).contains(share)) }
          if shares.reduce(0, +) < pool {
            #expect(zip(shares, claims).allSatisfy { $0 == $1.capacity || $0 < $1.minimum })
          }
        }
      }
    }
  }
}
