// The decisions of a worker, by situation.
import Testing

@testable import Worker

/// A machine with a clock, and what it has decided so far.
struct MemberBench {
  var machine: MemberMachine
  var now = Duration.zero

  init(once: Bool = false) {
    var limits = MemberMachine.Limits()
    limits.once = once
    machine = MemberMachine(limits: limits, at: .zero)
  }

  /// The effects of one event, without the log lines.
  mutating func on(_ event: MemberEvent) -> [MemberEffect] {
    machine.step(event, at: now).filter { if case .log = $0 { false } else { true } }
  }

  mutating func wait(_ duration: Duration) -> [MemberEffect] {
    now += duration
    return on(.tick)
  }

  mutating func welcome() {
    _ = on(.linkUp)
    _ = on(.welcomed(worker: 4))
  }

  /// Brings the machine to training in `assignment`.
  mutating func train(_ assignment: Assignment) {
    _ = on(.begin(assignment))
    _ = on(.formed(assignment.key, step: nil))
    _ = on(.synchronize(assignment.key, Synchronization(step: 0, source: .initialize)))
    _ = on(.synchronized(assignment.key, step: 0))
    _ = on(.start(assignment.key))
  }
}

func assignment(job: UInt64 = 1, generation: UInt64 = 1, members: Int = 2, rank: Int = 0) -> Assignment {
  let peers = (0..<members).map { index in
    Peer(
      name: "w-\(index)", dataEndpoint: "tcp://127.0.0.1:2000\(index)", localEndpoint: "", host: "here",
      shards: (index * 8 / members)..<((index + 1) * 8 / members))
  }
  return Assignment(
    key: GenerationKey(job: job, generation: generation), rank: rank, peers: peers, spec: "version: 1",
    dataset: "data/strip")
}

@Suite("A member")
struct MemberMachineTests {
  let first = assignment(generation: 1)
  let second = assignment(generation: 2)

  @Test("goes through a generation: forms, says its position, synchronizes, is ready, trains, ends")
  func course() {
    var bench = MemberBench()
    #expect(bench.on(.linkUp) == [.send(.hello(nil))])
    #expect(bench.on(.welcomed(worker: 4)) == [])
    #expect(bench.on(.begin(first)) == [.form(first)])
    #expect(bench.on(.formed(first.key, step: nil)) == [.send(.position(first.key, step: nil))])
    let target = Synchronization(step: 40, source: .peer(rank: 1))
    #expect(bench.on(.synchronize(first.key, target)) == [.synchronize(first.key, target)])
    #expect(bench.on(.synchronized(first.key, step: 40)) == [.send(.ready(first.key, step: 40))])
    #expect(bench.on(.start(first.key)) == [.train(first.key)])
    #expect(bench.on(.trained(first.key)) == [])
    #expect(
      bench.on(.end(first.key, reason: "finished", jobOver: true)) == [.interrupt(reason: "finished"), .drop(job: 1)])
    #expect(bench.machine.key == nil)
  }

  @Test(
    "stands by when its generation has ended without it, with its state of that job, without that of another",
    arguments: [1, 2] as [UInt64])
  func standsByAfterAnEnd(job: UInt64) {
    var bench = MemberBench()
    bench.welcome()
    bench.train(first)
    #expect(bench.on(.standby(StandbyOrder(job: job, spec: "", dataset: ""))) == [], "not while it is a member")
    _ = bench.on(.end(first.key, reason: "over", jobOver: false))
    let order = StandbyOrder(job: job, spec: "version: 1", dataset: "data/strip")
    #expect(bench.on(.standby(order)) == (job == 1 ? [.standBy(order)] : [.drop(job: 1), .standBy(order)]))
    #expect(bench.on(.warmed(job: job)) == [.send(.standbyReady(job: job))])
    let last = GenerationKey(job: job, generation: 7)
    #expect(bench.on(.end(last, reason: "finished", jobOver: true)) == [.drop(job: job)])
    #expect(bench.machine.key == nil)
  }

  @Test("abandons the step in flight and keeps its state when the next generation begins")
  func nextGeneration() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(first)
    #expect(bench.on(.end(first.key, reason: "w-1 joined", jobOver: false)) == [.interrupt(reason: "w-1 joined")])
    #expect(
      bench.on(.begin(second)) == [
        .interrupt(reason: "job 1 generation 1 gives way to job 1 generation 2"), .form(second),
      ])
    #expect(bench.on(.formed(second.key, step: 17)) == [.send(.position(second.key, step: 17))])
  }

  @Test("drops the state of one job when another begins")
  func nextJob() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(first)
    let other = assignment(job: 2, generation: 1)
    #expect(bench.on(.begin(other)).contains(.drop(job: 1)))
  }

  @Test("goes from a job to an earlier one, whatever their generations")
  func earlierJob() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(assignment(job: 2, generation: 3))
    let next = assignment(job: 1, generation: 1)
    #expect(
      bench.on(.begin(next)) == [
        .interrupt(reason: "job 2 generation 3 gives way to job 1 generation 1"), .drop(job: 2), .form(next),
      ])
  }

  @Test("drops and counts whatever belongs to an older generation")
  func staleness() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(second)
    let old: [MemberEvent] = [
      .begin(first), .start(first.key), .end(first.key, reason: "late", jobOver: false),
      .formed(first.key, step: 3), .synchronized(first.key, step: 3), .trained(first.key), .saved(first.key),
      .peerLost(first.key, rank: 1, evidence: "late"), .begin(second), .start(second.key),
      .synchronize(first.key, Synchronization(step: 3, source: .initialize)),
      .failed(first.key, JobFailure(message: "late", exitCode: 70)),
    ]
    for event in old { #expect(bench.on(event) == [], "\(event)") }
    #expect(bench.machine.staleCount == old.count)
    #expect(bench.machine.phase == .training)
  }

  @Test("reports a lost peer once and waits for the next generation")
  func peerLost() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(first)
    let loss = MemberEvent.peerLost(first.key, rank: 1, evidence: "connection closed")
    #expect(
      bench.on(loss) == [
        .interrupt(reason: "lost rank 1"), .send(.peerLost(first.key, rank: 1, evidence: "connection closed")),
      ])
    #expect(bench.on(loss) == [])
    #expect(bench.on(.failed(first.key, JobFailure(message: "follows from it", exitCode: 70))) == [])
    #expect(bench.on(.begin(second)).last == .form(second))
  }

  @Test("takes no alarm from peers that close their links when all steps are done")
  func peersCloseAtTheEnd() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(first)
    _ = bench.on(.trained(first.key))
    #expect(bench.on(.peerLost(first.key, rank: 1, evidence: "connection closed")) == [])
  }

  @Test("trains on while the coordinator is away, and says again what got lost")
  func coordinatorRestart() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(first)
    #expect(bench.on(.linkDown(reason: "closed")) == [])
    #expect(bench.wait(.seconds(600)) == [])
    #expect(bench.machine.phase == .training)
    #expect(bench.on(.peerLost(first.key, rank: 1, evidence: "gone")) == [.interrupt(reason: "lost rank 1")])
    #expect(bench.on(.linkUp) == [.send(.hello(first.key))])
    #expect(bench.on(.welcomed(worker: 4)) == [.send(.peerLost(first.key, rank: 1, evidence: "gone"))])
  }

  @Test("says position and readiness again after a reconnection", arguments: [false, true])
  func restatement(ready: Bool) {
    var bench = MemberBench()
    bench.welcome()
    _ = bench.on(.begin(first))
    _ = bench.on(.linkDown(reason: "closed"))
    #expect(bench.on(.formed(first.key, step: 5)) == [])
    if ready {
      _ = bench.on(.synchronize(first.key, Synchronization(step: 5, source: .checkpoint)))
      #expect(bench.on(.synchronized(first.key, step: 5)) == [])
    }
    _ = bench.on(.linkUp)
    #expect(
      bench.on(.welcomed(worker: 4)) == [
        .send(ready ? .ready(first.key, step: 5) : .position(first.key, step: 5))
      ])
  }

  @Test("sends a heartbeat every 250 ms, also while it trains")
  func heartbeat() {
    var bench = MemberBench()
    bench.welcome()
    #expect(bench.wait(.milliseconds(249)) == [])
    #expect(bench.wait(.milliseconds(1)) == [.send(.heartbeat(nil))])
    bench.train(first)
    #expect(bench.wait(.milliseconds(100)) == [])
    #expect(bench.wait(.milliseconds(150)) == [.send(.heartbeat(first.key))])
  }

  @Test("gives signs of life before it is welcomed, so that a slow answer is no silence")
  func early() {
    var bench = MemberBench()
    #expect(bench.on(.linkUp) == [.send(.hello(nil))])
    for _ in 0..<8 { #expect(bench.wait(.milliseconds(250)) == [.send(.heartbeat(nil))]) }
    _ = bench.on(.linkDown(reason: "closed"))
    #expect(bench.wait(.milliseconds(250)) == [])
  }

  @Test("reports a job that cannot be done, once, and lives on")
  func failure() {
    var bench = MemberBench()
    bench.welcome()
    bench.train(first)
    let failure = JobFailure(message: "dataset has 3 classes, spec names 5", exitCode: 65)
    #expect(
      bench.on(.failed(first.key, failure)) == [
        .interrupt(reason: "the job failed here"), .send(.failed(first.key, failure)),
      ])
    #expect(bench.on(.end(first.key, reason: "failed", jobOver: true)).last == .drop(job: 1))
  }
}
