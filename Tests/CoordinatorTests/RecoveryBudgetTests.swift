// Recovery acts on positive evidence only, evidence belongs to a generation, every action has a budget. Two faults of other systems, each
// as a situation that must not end the same way here.
import Coordinator
import RunStore
import Testing

@Suite struct RecoveryBudgetTests {
  private func training(_ settings: JobSettings = JobSettings(maximumWorkers: 2)) -> (Bench, JobID) {
    var bench = Bench()
    let job = bench.job(settings)
    bench.start(1)
    bench.start(2)
    bench.wait(.seconds(5))
    return (bench, job)
  }

  @Test("skypilot#10155: status time-outs do not relaunch a healthy job")
  func statusTimeouts() {
    var (bench, job) = training()
    for incident in 0..<25 {
      if incident.isMultiple(of: 2) {
        // The coordinator itself stands still, and hears nobody for a minute.
        bench.now = bench.now + .seconds(60)
        bench.send(.tick)
      } else {
        // A worker is slow to answer, but within its time.
        bench.scripted[ConnectionID(2)]?.isFrozen = true
        bench.wait(.milliseconds(3_500))
        bench.scripted[ConnectionID(2)]?.isFrozen = false
      }
      bench.wait(.seconds(3))
    }
    #expect(bench.generations.count == 1, "24 relaunches in 19 hours there, none here")
    #expect(bench.reason(job).hasPrefix("generation 1: 2 workers"))
  }

  @Test("skypilot#10155: the retry clock is reset by every committed step, so a long job outlives any number of losses")
  func retryClock() {
    var (bench, job) = training()
    for loss in 0..<24 as Range<UInt64> {
      bench.kill(loss + 1)
      bench.start(loss + 3)
      bench.wait(.seconds(5))
      #expect(!bench.reason(job).contains("restart"), "no wait is left over from the loss before")
    }
    #expect(bench.states(of: job).last == .running)
    #expect(bench.generations.count == 49, "one for each loss and one for each newcomer")
  }

  @Test("losses without a step in between use the budget up, and a person is asked")
  func budget() {
    var bench = Bench()
    let job = bench.job(JobSettings(maximumWorkers: 1))
    for number in 1...12 as ClosedRange<UInt64> {
      bench.start(number, stepTime: .seconds(3_600))
      bench.wait(.seconds(4))
      if bench.states(of: job).last == .failed { break }
      bench.kill(number)
    }
    #expect(bench.states(of: job).last == .failed)
    #expect(bench.reason(job).hasPrefix("5 restarts without a committed step; the last generation ended because"))
  }

  @Test("dlrover PR#1749: what a hang detector has seen does not outlive its generation")
  func staleHangEvidence() {
    var (bench, _) = training()
    bench.scripted[ConnectionID(2)]?.hangs = true
    bench.wait(.seconds(9))
    #expect(bench.generations.count == 1)
    for _ in 0..<300 where bench.generations.count < 3 { bench.wait(.milliseconds(50)) }
    // Its first step warms caches for half a minute; with the standstill of the generations before it would be killed.
    bench.scripted[ConnectionID(1)]?.stepTime = .seconds(30)
    #expect(bench.logs.contains { $0.contains("no progress at step") })
    #expect(bench.logs.contains { $0.hasPrefix("w-2 hangs: no answer to generation 2") })
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1)])
    let count = bench.generations.count
    bench.wait(.seconds(29))
    bench.scripted[ConnectionID(1)]?.stepTime = .milliseconds(200)
    bench.wait(.seconds(600))
    #expect(bench.generations.count == count, "killed every half hour for ever there, never again here")
  }

  @Test("a member hangs after ten seconds, or after three median steps when those are longer")
  func patience() {
    for (step, found) in [(Duration.milliseconds(200), Duration.seconds(11)), (.seconds(8), .seconds(26))] {
      var (bench, _) = training()
      for number in 1...2 as ClosedRange<UInt64> { bench.scripted[ConnectionID(number)]?.stepTime = step }
      bench.wait(.seconds(200))
      #expect(bench.generations.count == 1)
      bench.scripted[ConnectionID(2)]?.hangs = true
      let start = bench.now
      while bench.generations.count == 1, bench.now - start < .seconds(60) { bench.wait(.milliseconds(100)) }
      #expect((found - .seconds(3)...found + .seconds(9)).contains(bench.now - start), "\(step): \(bench.now - start)")
    }
  }
}
