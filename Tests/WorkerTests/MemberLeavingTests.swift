// The ways out of a worker, with their exit codes.
import Testing

@testable import Worker

@Suite("A member leaves")
struct MemberLeavingTests {
  let alone = assignment(members: 1)
  let together = assignment(members: 2)

  @Test("with 0 when it is idle at the signal")
  func idle() {
    var bench = MemberBench()
    bench.welcome()
    #expect(bench.on(.signal(name: "SIGTERM")) == [.send(.leave(reason: "SIGTERM"))])
    #expect(bench.on(.leaveAcknowledged) == [.exit(code: 0)])
    #expect(bench.on(.linkUp) == [], "nothing after the exit")
  }

  @Test("with 75 and without saving when peers hold the state")
  func withPeers() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(together)
    #expect(
      bench.on(.signal(name: "SIGUSR1")) == [.interrupt(reason: "SIGUSR1"), .send(.leave(reason: "SIGUSR1"))])
    #expect(bench.on(.begin(assignment(generation: 2))) == [], "takes no new orders")
    #expect(bench.on(.leaveAcknowledged) == [.exit(code: 75)])
  }

  @Test("with 75 after saving when it is the last holder of the state")
  func lastHolder() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(alone)
    #expect(bench.on(.signal(name: "SIGTERM")) == [.saveAndStop(alone.key)])
    #expect(bench.on(.signal(name: "SIGTERM")) == [], "the second signal is the shell's business")
    #expect(bench.wait(.seconds(3)) == [.send(.heartbeat(alone.key))], "alive while it saves")
    #expect(bench.on(.saved(alone.key)) == [.interrupt(reason: "SIGTERM"), .send(.leave(reason: "SIGTERM"))])
    #expect(bench.on(.leaveAcknowledged) == [.exit(code: 75)])
  }

  @Test("without saving when the saving takes more than 15 s")
  func savingTakesTooLong() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(alone)
    _ = bench.on(.signal(name: "SIGTERM"))
    #expect(bench.wait(.milliseconds(14_999)) == [.send(.heartbeat(alone.key))])
    #expect(bench.wait(.milliseconds(1)) == [.exit(code: 75)])
  }

  @Test("at once when the job ends while it saves, for nobody would take the state")
  func overWhileSaving() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(alone)
    _ = bench.on(.signal(name: "SIGTERM"))
    #expect(bench.on(.end(alone.key, reason: "its end", jobOver: false)) == [], "it can still be saved")
    let job = alone.key.job
    #expect(bench.on(.end(GenerationKey(job: job + 1, generation: 9), reason: "another", jobOver: true)) == [])
    #expect(
      bench.on(.end(alone.key, reason: "killed", jobOver: true)) == [
        .interrupt(reason: "killed"), .drop(job: job), .send(.leave(reason: "SIGTERM")),
      ])
    #expect(bench.on(.leaveAcknowledged) == [.exit(code: 0)])
  }

  @Test("after 2 s when the coordinator does not answer Leave")
  func unanswered() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(together)
    _ = bench.on(.signal(name: "SIGINT"))
    #expect(bench.wait(.seconds(2)) == [.exit(code: 75)])
  }

  @Test("at once when there is no coordinator to tell")
  func noCoordinator() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(together)
    _ = bench.on(.linkDown(reason: "closed"))
    #expect(bench.on(.signal(name: "SIGTERM")) == [.interrupt(reason: "SIGTERM"), .exit(code: 75)])
  }

  @Test("with 69 when the coordinator cannot be reached for the limit", arguments: [false, true])
  func unreachable(connected: Bool) {
    var bench = MemberBench()
    if connected { _ = bench.on(.linkUp) }
    #expect(bench.wait(.milliseconds(59_999)) == (connected ? [.send(.heartbeat(nil))] : []))
    #expect(bench.wait(.milliseconds(1)) == [.exit(code: 69)])
  }

  @Test("with 69 when the coordinator stays away for the limit after the last step")
  func unreachableAfterTraining() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(alone)
    _ = bench.on(.linkDown(reason: "closed"))
    #expect(bench.wait(.seconds(600)) == [])
    _ = bench.on(.trained(alone.key))
    #expect(bench.wait(.seconds(59)) == [])
    #expect(bench.wait(.seconds(1)) == [.exit(code: 69)])
  }

  @Test("with the code that a refusal names")
  func refused() {
    var bench = MemberBench()
    _ = bench.on(.linkUp)
    let refusal = MemberEvent.refused(reason: "protocol 2, this is 1", remedy: "install 1", exitCode: 78)
    #expect(bench.on(refusal) == [.exit(code: 78)])
  }

  @Test("with 0 under --once when there was nothing to do for 5 s, also after a job")
  func once() {
    var bench = MemberBench(once: true)
    bench.now = .seconds(30)
    bench.welcome()
    #expect(bench.wait(.milliseconds(4_900)) == [.send(.heartbeat(nil))])
    bench.train(together)
    #expect(bench.wait(.seconds(50)) == [.send(.heartbeat(together.key))])
    _ = bench.on(.end(together.key, reason: "finished", jobOver: true))
    #expect(bench.wait(.seconds(5)) == [.send(.leave(reason: "nothing to do"))])
    #expect(bench.on(.leaveAcknowledged) == [.exit(code: 0)])
  }
}
