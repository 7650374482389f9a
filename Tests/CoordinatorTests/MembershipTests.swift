// One generation: agreeing on a step, losing members, hanging, leaving.
import Coordinator
import RunStore
import Testing

@Suite struct MembershipTests {
  private let two = JobSettings(minimumWorkers: 1, maximumWorkers: 2)

  /// A job with two members that are at step 5 or so.
  private func training(_ settings: JobSettings? = nil) -> (Bench, JobID) {
    var bench = Bench()
    let job = bench.job(settings ?? two)
    bench.start(1)
    bench.start(2)
    bench.wait(.seconds(1))
    return (bench, job)
  }

  private func stamp(_ generation: UInt64) -> Stamp { Stamp(job: JobID(1), generation: generation) }

  @Test("members are told of a generation after it is persisted, each with its own rank and all endpoints")
  func briefing() {
    var bench = Bench()
    bench.job(two)
    bench.hello(1)
    bench.hello(2)
    guard case .begin(let first) = bench.lastOrder(1), case .begin(let second) = bench.lastOrder(2) else {
      Issue.record("no generation began")
      return
    }
    #expect(first.rank == 0 && second.rank == 1)
    #expect(first.members == second.members)
    #expect(first.members.map(\.worker.name) == ["host-1", "host-2"])
    #expect(first.spec == "spec" && first.dataset == "strip" && first.checkpoint == nil)
    let decision = bench.decisions.last { $0.contains { $0 == .send(ConnectionID(2), .begin(second)) } }
    let began = decision?.firstIndex { if case .persist(.generationBegan) = $0 { true } else { false } }
    #expect(began == 0 || began == 1)
  }

  @Test("everybody starts where the most advanced member stands, and fetches from the lowest rank that stands there")
  func newestState() {
    var bench = Bench()
    bench.job(JobSettings(maximumWorkers: 3))
    for number in 1...3 as ClosedRange<UInt64> { bench.hello(number) }
    bench.send(.position(ConnectionID(1), stamp(1), hasState: true, committedStep: 99))
    bench.send(.position(ConnectionID(3), stamp(1), hasState: true, committedStep: 100))
    #expect(bench.reason(JobID(1)) == "generation 1: 2 of 3 members answered; waiting for w-2, 0.0 s")
    bench.send(.position(ConnectionID(2), stamp(1), hasState: true, committedStep: 100))
    #expect(bench.lastOrder(1) == .sync(stamp(1), step: 100, .peer(rank: 1)))
    bench.send(.ready(ConnectionID(1), stamp(1), step: 99))
    bench.send(.ready(ConnectionID(2), stamp(1), step: 100))
    bench.send(.ready(ConnectionID(3), stamp(1), step: 100))
    #expect(
      bench.reason(JobID(1)) == "generation 1: 2 of 3 members ready at step 100; waiting for w-1, 0.0 s")
    bench.send(.ready(ConnectionID(1), stamp(1), step: 100))
    #expect((1...3).allSatisfy { bench.lastOrder($0) == .start(stamp(1)) })
    #expect(bench.persisted.last == .generationStarted(JobID(1), 1))
  }

  @Test("the first generation of a job begins at the beginning")
  func initialize() {
    var bench = Bench()
    bench.job(two)
    bench.hello(1)
    bench.hello(2)
    bench.send(.position(ConnectionID(1), stamp(1), hasState: false, committedStep: 0))
    bench.send(.position(ConnectionID(2), stamp(1), hasState: false, committedStep: 0))
    #expect(bench.lastOrder(2) == .sync(stamp(1), step: 0, .initialize))
  }

  @Test("a killed worker ends the generation at once, and the survivor goes on with all shards from its own step")
  func killed() {
    var (bench, job) = training()
    let step = bench.scripted[ConnectionID(1)]?.step
    bench.kill(2)
    #expect(bench.logs.contains("generation 1 ends: w-2 lost: connection closed"))
    #expect(bench.generations.last?.members == [MemberRecord(worker: WorkerID(1), shards: 0..<8)])
    #expect(bench.orders[ConnectionID(1)]?.contains(.sync(stamp(2), step: step ?? 0, .peer(rank: 0))) == true)
    #expect(bench.reason(job).hasPrefix("generation 2: 1 worker, step"))
  }

  @Test("a frozen worker is lost after four seconds of silence, and is welcome again when it thaws")
  func frozen() {
    var (bench, _) = training()
    bench.scripted[ConnectionID(2)]?.isFrozen = true
    bench.wait(.milliseconds(3700))
    #expect(bench.generations.count == 1)
    bench.wait(.milliseconds(700))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1)])
    bench.wait(.seconds(10))
    bench.scripted[ConnectionID(2)]?.isFrozen = false
    bench.wait(.seconds(3))
    #expect(bench.logs.contains("w-2 is back"))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1), WorkerID(2)])
  }

  @Test("time in which the coordinator itself stood still counts against nobody")
  func pausedCoordinator() {
    var (bench, _) = training()
    bench.now = bench.now + .seconds(60)
    bench.send(.tick)
    bench.wait(.seconds(2))
    #expect(bench.generations.count == 1)
  }

  @Test(
    "members whose connections broke while the coordinator was away have five seconds to return to their generation")
  func connectionsBrokenMeanwhile() {
    var (bench, _) = training()
    bench.now = bench.now + .seconds(30)
    for number: UInt64 in [1, 2] { bench.send(.disconnected(ConnectionID(number))) }
    bench.wait(.seconds(4))
    for number: UInt64 in [1, 2] { bench.hello(10 + number, introduction: number, stamp: stamp(1), step: 9) }
    bench.wait(.seconds(2))
    #expect(bench.generations.count == 1)
    #expect(!bench.logs.contains { $0.contains("lost") })
  }

  @Test("a member that does not return to a coordinator that was away is lost after five seconds")
  func goneMeanwhile() {
    var (bench, _) = training()
    bench.now = bench.now + .seconds(30)
    bench.send(.disconnected(ConnectionID(2)))
    bench.wait(.milliseconds(4900))
    #expect(bench.generations.count == 1)
    bench.wait(.milliseconds(200))
    #expect(bench.generations.count == 2)
    #expect(bench.logs.contains("generation 1 ends: w-2 lost: did not return within 5.0 s"))
  }

  @Test("a newcomer does not end a generation whose members are about to return")
  func newcomerMeanwhile() {
    var (bench, _) = training(JobSettings(minimumWorkers: 2, maximumWorkers: 3))
    bench.now = bench.now + .seconds(30)
    for number: UInt64 in [1, 2] { bench.send(.disconnected(ConnectionID(number))) }
    bench.start(3)
    bench.wait(.seconds(4))
    #expect(bench.generations.count == 1)
    for number: UInt64 in [1, 2] { bench.hello(10 + number, introduction: number, stamp: stamp(1), step: 9) }
    // Those that are back train on; whoever has its data joins where it is announced.
    for number: UInt64 in [11, 12] {
      guard case .stop(stamp(1), _, saves: false) = bench.lastOrder(number) else {
        Issue.record("another order: \(String(describing: bench.lastOrder(number)))")
        continue
      }
    }
  }

  @Test("a worker that a peer has lost and that is silent for a second is dropped")
  func accusedSilent() {
    var (bench, job) = training()
    bench.scripted[ConnectionID(2)]?.isFrozen = true
    bench.send(.peerLost(ConnectionID(1), stamp(1), rank: 1, evidence: "connection reset"))
    #expect(
      bench.reason(job)
        == "waiting for a sign of life of w-2: w-1 lost its link to w-2: connection reset")
    bench.wait(.milliseconds(950))
    #expect(bench.generations.count == 1)
    bench.wait(.milliseconds(100))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1)])
  }

  @Test("a worker that a peer has lost but that is alive stays a member of a fresh generation")
  func accusedAlive() {
    var (bench, _) = training()
    bench.send(.peerLost(ConnectionID(1), stamp(1), rank: 1, evidence: "connection reset"))
    bench.wait(.milliseconds(400))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1), WorkerID(2)])
    #expect(bench.generations.last?.number == 2)
  }

  @Test("a worker that is alive but lost by its peers twice without a step in between is told to go, with exit code 70")
  func accusedTwice() {
    var (bench, _) = training()
    bench.scripted[ConnectionID(2)]?.hangs = true
    bench.send(.peerLost(ConnectionID(1), stamp(1), rank: 1, evidence: "no answer"))
    bench.wait(.milliseconds(300))
    bench.send(.peerLost(ConnectionID(1), stamp(2), rank: 1, evidence: "no answer"))
    guard case .refused(_, _, exitCode: 70) = bench.lastOrder(2) else {
      Issue.record("w-2 was told \(String(describing: bench.lastOrder(2)))")
      return
    }
    bench.wait(.seconds(1))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1)])
  }

  @Test("a worker that hangs between steps is found after ten seconds, told to go, and the others go on")
  func hangs() {
    var (bench, job) = training()
    bench.wait(.seconds(2))
    bench.scripted[ConnectionID(1)]?.hangs = true
    bench.wait(.seconds(9))
    #expect(bench.generations.count == 1)
    bench.wait(.seconds(2))
    #expect(bench.generations.count == 2)
    #expect(bench.logs.contains { $0.hasPrefix("generation 1 ends: no progress at step") })
    bench.wait(.seconds(11))
    #expect(
      bench.logs.contains("w-1 hangs: no answer to generation 2 of job 1 for 10.0 s")
        || bench.logs.contains("w-1 hangs: no answer to generation 2 of job 1 for 10.1 s"))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(2)])
    #expect(bench.reason(job).hasPrefix("generation 3: 1 worker"))
  }

  @Test("patience with a hanging step grows with the steps: three medians")
  func slowSteps() {
    var bench = Bench()
    bench.job(two)
    bench.start(1)
    bench.scripted[ConnectionID(1)]?.stepTime = .seconds(6)
    bench.wait(.seconds(40))
    bench.scripted[ConnectionID(1)]?.hangs = true
    bench.wait(.seconds(15))
    #expect(bench.generations.count == 1)
    bench.wait(.seconds(6))
    #expect(bench.generations.count == 2)
  }

  @Test(
    "an evaluation may take longer than a step as long as somebody gets on with it; a hang in it is found within 10 s")
  func evaluation() {
    var (bench, _) = training()
    bench.scripted[ConnectionID(1)] = nil
    bench.scripted[ConnectionID(2)] = nil
    func evaluate(_ seconds: Int, _ phase: (_ number: UInt64, _ beat: Int) -> String) {
      for beat in 0..<seconds * 4 {
        for number in 1...2 as ClosedRange<UInt64> {
          let pulse = Pulse(stamp: stamp(1), committedStep: 9, phase: phase(number, beat))
          bench.send(.pulse(ConnectionID(number), pulse))
        }
        bench.wait(.milliseconds(250))
      }
    }
    evaluate(60) { "evaluating, \($1) operations of \($0)" }
    // The first is done and waits, the second is slow.
    evaluate(60) { number, beat in number == 1 ? "waiting" : "evaluating, \(beat / 30) operations" }
    evaluate(9) { _, _ in "waiting" }
    evaluate(9) { number, _ in number == 1 ? "waiting" : "evaluating, 7 operations" }
    #expect(bench.generations.count == 1)
    evaluate(2) { number, _ in number == 1 ? "waiting" : "evaluating, 7 operations" }
    #expect(bench.generations.count == 2, "found though the other one waits")
  }

  @Test("members that wait for each other at the end of an evaluation, all of them, hang")
  func deadlock() {
    var (bench, _) = training()
    bench.scripted[ConnectionID(1)] = nil
    bench.scripted[ConnectionID(2)] = nil
    for _ in 0..<44 {
      for number in 1...2 as ClosedRange<UInt64> {
        bench.send(.pulse(ConnectionID(number), Pulse(stamp: stamp(1), committedStep: 9, phase: "waiting")))
      }
      bench.wait(.milliseconds(250))
    }
    #expect(bench.generations.count == 2)
  }

  @Test("a member that saves to a full disk, and those that wait for it, are not hanging")
  func saving() {
    var (bench, _) = training()
    bench.scripted[ConnectionID(1)] = nil
    bench.scripted[ConnectionID(2)] = nil
    for _ in 0..<3_000 {
      bench.send(.pulse(ConnectionID(1), Pulse(stamp: stamp(1), committedStep: 9, phase: "saving")))
      bench.send(.pulse(ConnectionID(2), Pulse(stamp: stamp(1), committedStep: 9, phase: "idle")))
      bench.wait(.milliseconds(250))
    }
    #expect(bench.generations.count == 1)
  }

  @Test("workers that leave cost the job nothing, however often")
  func leaving() {
    var bench = Bench()
    let job = bench.job(two)
    for number in 1...20 as ClosedRange<UInt64> {
      bench.hello(number)
      bench.wait(.milliseconds(1100))
      bench.send(.leave(ConnectionID(number), reason: "SIGTERM"))
      bench.send(.disconnected(ConnectionID(number)))
    }
    #expect(bench.generations.count == 20)
    #expect(bench.reason(job) == "0 of 1 workers")
  }

  @Test("five restarts without a committed step, with growing waits, then a person is asked")
  func budget() {
    var bench = Bench()
    let job = bench.job(two)
    for number in 1...6 as ClosedRange<UInt64> {
      bench.hello(number)
      bench.wait(.milliseconds(3200))
      bench.send(.disconnected(ConnectionID(number)))
    }
    #expect(bench.states(of: job).last == .failed)
    #expect(
      bench.reason(job)
        == "5 restarts without a committed step; the last generation ended because w-6 lost: connection closed; "
        + "look at the workers' logs, then submit the job again")
    #expect(bench.generations.count == 6)
  }

  @Test("many members dying together are one or two restarts, not one each")
  func machineLost() {
    var bench = Bench()
    let job = bench.job()
    for number in 1...8 as ClosedRange<UInt64> { bench.start(number) }
    bench.wait(.seconds(2))
    for number in 2...8 as ClosedRange<UInt64> { bench.kill(number) }
    bench.wait(.seconds(1))
    #expect(bench.generations.count <= 4)
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1)])
    #expect(bench.reason(job).contains("1 worker, step"))
  }

  @Test("an error that any worker would make fails the job with its message and remedy")
  func jobFailed() {
    var (bench, job) = training()
    bench.send(.failed(ConnectionID(2), stamp(1), message: "model needs 3 channels", hint: "set model.stem"))
    #expect(bench.reason(job) == "rank 1: model needs 3 channels (set model.stem)")
    #expect(bench.states(of: job).last == .failed)
    bench.wait(.seconds(10))
    #expect(bench.generations.count == 1)
  }

  @Test("messages of another generation, of no member and of strangers are dropped and counted")
  func stale() {
    var (bench, _) = training()
    let effects = bench.decisions.count
    bench.send(.peerLost(ConnectionID(1), stamp(7), rank: 1, evidence: "late"))
    bench.send(.ready(ConnectionID(1), stamp(0), step: 5))
    bench.send(.finished(ConnectionID(99), stamp(1), step: 5, sha256: "", json: ""))
    bench.send(.peerLost(ConnectionID(1), stamp(1), rank: 12, evidence: "no such rank"))
    #expect(bench.board.staleCount == 4)
    #expect(bench.decisions[effects...].allSatisfy { $0.isEmpty })
  }

  @Test("only rank 0 ends a job")
  func onlyRankZeroFinishes() {
    var (bench, job) = training()
    bench.send(.finished(ConnectionID(2), stamp(1), step: 5, sha256: "a", json: ""))
    #expect(bench.states(of: job).last == .running)
    bench.send(.finished(ConnectionID(1), stamp(1), step: 5, sha256: "a", json: ""))
    #expect(bench.states(of: job).last == .finished)
  }

  @Test("a member that connects anew and never stopped stepping stays; one that lost its work ends the generation")
  func reconnect() {
    var (bench, _) = training()
    bench.send(.hello(ConnectionID(12), Bench.introduction(2, stamp: stamp(1), step: 5)))
    #expect(bench.generations.count == 1)
    bench.send(.disconnected(ConnectionID(2)))
    #expect(bench.generations.count == 1)
    bench.send(.hello(ConnectionID(22), Bench.introduction(2)))
    #expect(bench.logs.contains("generation 1 ends: w-2 connected anew without its work"))
  }

  @Test("checkpoints are taken from the current generation of a job that is not over, from nobody else")
  func fence() {
    var (bench, job) = training()
    #expect(bench.board.refusalOfCheckpoint(stamp(1)) == nil)
    bench.kill(2)
    #expect(bench.board.refusalOfCheckpoint(stamp(1)) == "generation 1 is over; the current one is 2")
    bench.send(.control(RequestID(77), job, .kill))
    #expect(bench.board.refusalOfCheckpoint(stamp(2)) == "job 1 is cancelled")
    #expect(bench.board.refusalOfCheckpoint(Stamp(job: JobID(5), generation: 1)) == "there is no job 5")
  }
}
