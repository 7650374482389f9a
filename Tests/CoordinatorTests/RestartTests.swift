// After everything was gone: the coordinator, all workers, a checkpoint.
import Coordinator
import RunStore
import Testing

@Suite struct RestartTests {
  private let stamp = Stamp(job: JobID(1), generation: 4)

  private func snapshot(started: Bool = true, ended: String? = nil) -> RunStore.Snapshot {
    var snapshot = RunStore.Snapshot()
    var record = JobRecord(id: JobID(1), name: "strip", spec: "spec")
    record.state = .running
    record.dataset = "strip"
    record.generation = 4
    snapshot.jobs = [record]
    var generation = GenerationRecord(
      job: JobID(1), number: 4,
      members: [MemberRecord(worker: WorkerID(7), shards: 0..<4), MemberRecord(worker: WorkerID(8), shards: 4..<8)])
    generation.started = started
    generation.endReason = ended
    snapshot.generations = [JobID(1): generation]
    snapshot.workers = [7, 8].map {
      WorkerRecord(id: WorkerID($0), incarnation: "i\($0)", name: "host-\($0)")
    }
    snapshot.checkpoints = [JobID(1): [checkpoint(200), checkpoint(300)]]
    snapshot.alumni = [JobID(1): ["i7", "i8"]]
    snapshot.lastWorker = 8
    return snapshot
  }

  private func checkpoint(_ step: UInt64) -> CheckpointRecord {
    CheckpointRecord(job: JobID(1), step: step, epoch: 1, generation: 3, name: "step-\(step)", isFinal: false)
  }

  private func restarted(_ snapshot: RunStore.Snapshot) -> Bench {
    var bench = Bench()
    bench.carryOut(bench.board.restore(snapshot, settings: [JobID(1): JobSettings()], at: bench.now))
    return bench
  }

  @Test("a generation whose members all come back goes on undisturbed")
  func undisturbed() {
    var bench = restarted(snapshot())
    #expect(
      bench.reason(JobID(1))
        == "the coordinator was restarted: 0 of 2 members of generation 4 are back; waiting for w-7, w-8, 5.0 s left")
    bench.hello(7, stamp: stamp, step: 320)
    bench.hello(8, stamp: stamp, step: 321)
    #expect(bench.orders.values.allSatisfy { $0.count == 1 })
    #expect(bench.lastOrder(7) == .welcome(WorkerID(7)))
    #expect(bench.reason(JobID(1)) == "generation 4: 2 workers, step 321")
    bench.wait(.seconds(3))
    #expect(bench.generations.isEmpty)
  }

  @Test("a pause that the restart has cut short is gone on with, unless it is taken back", arguments: [false, true])
  func pausing(isTakenBack: Bool) throws {
    var snapshot = snapshot()
    snapshot.jobs[0].intent = .pause
    var bench = restarted(snapshot)
    if isTakenBack { bench.send(.control(RequestID(100), JobID(1), .resume)) }
    bench.hello(7, stamp: stamp, step: 320)
    bench.hello(8, stamp: stamp, step: 321)
    bench.wait(.seconds(5))
    #expect(bench.states(of: JobID(1)).contains(.paused) != isTakenBack)
  }

  @Test("a member that lost the order to start with its connection gets it again")
  func startLostWithConnection() {
    var bench = Bench()
    let stamp = Stamp(job: bench.job(JobSettings(maximumWorkers: 1)), generation: 1)
    bench.hello(1)
    bench.wait(.seconds(2))
    bench.send(.position(ConnectionID(1), stamp, hasState: false, committedStep: 0))
    bench.send(.ready(ConnectionID(1), stamp, step: 0))
    #expect(bench.lastOrder(1) == .start(stamp))
    bench.send(.hello(ConnectionID(2), Bench.introduction(1, stamp: stamp)))
    bench.send(.ready(ConnectionID(2), stamp, step: 0))
    #expect(bench.lastOrder(2) == .start(stamp))
  }

  @Test("a coordinator that died between the decision to start and the orders tells members that say they are ready")
  func startLostWithCoordinator() {
    var bench = restarted(snapshot())
    bench.hello(7, stamp: stamp, step: 300)
    bench.send(.ready(ConnectionID(7), stamp, step: 300))
    #expect(bench.lastOrder(7) == .start(stamp), "before the others are back")
    bench.hello(8, stamp: stamp, step: 300)
    #expect(bench.lastOrder(8) == .welcome(WorkerID(8)), "who may be training already")
    bench.send(.ready(ConnectionID(8), stamp, step: 300))
    #expect(bench.lastOrder(8) == .start(stamp))
  }

  @Test("a member that does not come back within five seconds is left behind, and the other keeps its state")
  func oneMissing() {
    var bench = restarted(snapshot())
    bench.hello(8, stamp: stamp, step: 321)
    bench.wait(.milliseconds(1000))
    let reason = "w-7 did not come back within 5.0 s of the coordinator's restart"
    for _ in 0..<20 {
      bench.send(.pulse(ConnectionID(8), Pulse(stamp: stamp, committedStep: 321, phase: "training")))
      bench.wait(.milliseconds(250))
    }
    #expect(bench.persisted.contains(.generationEnded(JobID(1), 4, reason: reason)))
    #expect(bench.orders[ConnectionID(8)]?.contains(.end(stamp, reason: reason, jobOver: false)) == true)
    #expect(bench.generations.map(\.number) == [5])
    #expect(bench.generations.last?.members == [MemberRecord(worker: WorkerID(8), shards: 0..<8)])
  }

  @Test("a new process in a member's place is a new worker, and waits until the old members had their time")
  func replaced() {
    var bench = restarted(snapshot())
    bench.start(9)
    #expect(bench.lastOrder(9) == .welcome(WorkerID(9)))
    bench.wait(.milliseconds(4900))
    #expect(bench.generations.isEmpty)
    bench.wait(.milliseconds(200))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(9)])
  }

  @Test("a member that comes back without its work ends the wait")
  func withoutWork() {
    var bench = restarted(snapshot())
    bench.hello(8, stamp: stamp, step: 321)
    bench.hello(7, stamp: Stamp(job: JobID(1), generation: 3), step: 100)
    #expect(
      bench.persisted.contains(.generationEnded(JobID(1), 4, reason: "w-7 came back without its work")))
    #expect(bench.generations.map(\.number) == [5])
  }

  @Test("a generation that had not started begins anew under the next number")
  func notStarted() {
    var bench = restarted(snapshot(started: false))
    #expect(
      bench.persisted.contains(
        .generationEnded(JobID(1), 4, reason: "the coordinator was restarted before it started")))
    #expect(bench.reason(JobID(1)) == "0 of 1 workers; from checkpoint step 300")
    bench.hello(7, stamp: stamp, step: 321)
    #expect(bench.lastOrder(7) == .end(stamp, reason: "generation 4 of job 1 is over", jobOver: false))
    bench.wait(.seconds(2))
    #expect(bench.generations.map(\.number) == [5])
  }

  @Test("the end of a job that is told while another member is still missing counts")
  func finishedMeanwhile() {
    var bench = restarted(snapshot())
    bench.hello(7, stamp: stamp, step: 400)
    bench.send(.finished(ConnectionID(7), stamp, step: 400, sha256: "h", json: "{}"))
    #expect(bench.states(of: JobID(1)).last == .finished)
    bench.hello(8, stamp: stamp, step: 400)
    #expect(bench.lastOrder(8) == .end(stamp, reason: "job 1 is finished", jobOver: true))
  }

  @Test("a link that is lost while the coordinator was away ends the generation when that is told")
  func peerLostMeanwhile() {
    var bench = restarted(snapshot())
    bench.hello(7, stamp: stamp, step: 320)
    bench.send(.peerLost(ConnectionID(7), stamp, rank: 1, evidence: "connection closed"))
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(7)])
  }

  @Test("a worker of a job that is over is told so")
  func jobOver() {
    var over = snapshot()
    over.jobs[0].state = .cancelled
    over.generations = [:]
    var bench = restarted(over)
    bench.hello(7, stamp: stamp, step: 320)
    #expect(bench.lastOrder(7) == .end(stamp, reason: "job 1 is cancelled", jobOver: true))
  }

  @Test("a worker that trained another coordinator's job of the same number must drop its state")
  func foreignState() {
    var bench = restarted(snapshot())
    bench.hello(40, stamp: Stamp(job: JobID(1), generation: 2), step: 5)
    #expect(
      bench.lastOrder(40)
        == .end(
          Stamp(job: JobID(1), generation: 2),
          reason: "this coordinator never gave generation 2 of job 1 to this worker", jobOver: true))
    bench.hello(41, stamp: Stamp(job: JobID(9), generation: 2), step: 5)
    guard case .end(_, _, jobOver: true) = bench.lastOrder(41) else {
      Issue.record("told \(String(describing: bench.lastOrder(41)))")
      return
    }
  }

  @Test("a job whose stored spec this version cannot read fails and says so")
  func unreadableSpec() {
    var bench = Bench()
    bench.carryOut(bench.board.restore(snapshot(), settings: [:], at: bench.now))
    #expect(bench.reason(JobID(1)) == "its stored spec is not valid for this version of Temper")
    #expect(bench.states(of: JobID(1)) == [.failed])
  }

  @Test("job and worker numbers go on where they were")
  func numbers() {
    var bench = restarted(snapshot())
    #expect(bench.job() == JobID(2))
    bench.hello(20)
    #expect(bench.lastOrder(20) == .welcome(WorkerID(9)))
  }

  @Test("when all workers are gone the job waits and resumes from the newest checkpoint, after it has been verified")
  func fromCheckpoint() {
    var bench = restarted(snapshot(ended: "all lost"))
    bench.start(30)
    bench.wait(.milliseconds(1100))
    #expect(bench.verifying == [JobID(1)])
    #expect(bench.reason(JobID(1)).hasPrefix("generation 5: checking the checkpoint of step 300"))
    bench.send(.checkpointsVerified(JobID(1), newest: checkpoint(300), damaged: []))
    let synced = Order.sync(Stamp(job: JobID(1), generation: 5), step: 300, .checkpoint)
    #expect(bench.lastOrder(30) == synced)
  }

  @Test("a damaged checkpoint is named and the one before is used, in a fresh generation that is told of it")
  func damagedCheckpoint() {
    var bench = restarted(snapshot(ended: "all lost"))
    bench.start(30)
    bench.wait(.milliseconds(1100))
    bench.send(
      .checkpointsVerified(
        JobID(1), newest: checkpoint(200),
        damaged: [DamagedCheckpoint(step: 300, problem: "model.safetensors: SHA-256 differs")]))
    #expect(
      bench.logs.contains(
        "the checkpoint of step 300 is damaged and not used: model.safetensors: SHA-256 differs"))
    #expect(bench.persisted.contains(.checkpointRemoved(JobID(1), step: 300)))
    bench.wait(.milliseconds(100))
    guard case .begin(let briefing) = bench.lastOrder(30) else {
      Issue.record("no generation began: \(String(describing: bench.lastOrder(30)))")
      return
    }
    #expect(briefing.checkpoint == checkpoint(200))
    #expect(briefing.stamp.generation == 6)
    let damaged = [DamagedCheckpoint(step: 300, problem: "model.safetensors: SHA-256 differs")]
    bench.send(.position(ConnectionID(30), briefing.stamp, hasState: false, committedStep: 0))
    bench.send(.checkpointsVerified(JobID(1), newest: checkpoint(200), damaged: damaged))
    #expect(bench.logs.filter { $0.contains("is damaged") }.count == 1)
  }

  @Test("with no checkpoint that verifies the job begins again from the beginning")
  func noCheckpointLeft() {
    var bench = restarted(snapshot(ended: "all lost"))
    bench.start(30)
    bench.wait(.milliseconds(1100))
    let damaged = [300, 200].map { DamagedCheckpoint(step: $0, problem: "gone") }
    bench.send(.checkpointsVerified(JobID(1), newest: nil, damaged: damaged))
    bench.wait(.milliseconds(200))
    bench.send(.checkpointsVerified(JobID(1), newest: nil, damaged: []))
    let expected = Order.sync(Stamp(job: JobID(1), generation: 6), step: 0, .initialize)
    #expect(bench.orders[ConnectionID(30)]?.contains(expected) == true)
  }

  /// A job without any known checkpoint whose lone member, at some step, is lost; another worker begins generation 2.
  private func orphaned() -> Bench {
    var bench = Bench()
    bench.job()
    bench.start(1)
    bench.wait(.milliseconds(1500))
    bench.kill(1)
    bench.start(2)
    bench.wait(.milliseconds(1500))
    return bench
  }

  private let second = Stamp(job: JobID(1), generation: 2)

  @Test("a job that has trained starts from nothing only when the desk has said that there is no checkpoint")
  func nothingOnDisk() {
    var bench = orphaned()
    #expect(bench.verifying == [JobID(1)])
    #expect(bench.reason(JobID(1)).hasPrefix("generation 2: checking for a checkpoint"))
    bench.send(.checkpointsVerified(JobID(1), newest: nil, damaged: []))
    #expect(bench.orders[ConnectionID(2)]?.contains(.sync(second, step: 0, .initialize)) == true)
  }

  @Test("a checkpoint that was on disk before the desk told of it is not given up")
  func storedMeanwhile() {
    var bench = orphaned()
    #expect(bench.orders[ConnectionID(2)]?.contains(.sync(second, step: 0, .initialize)) == false)
    let first = CheckpointRecord(job: JobID(1), step: 2, epoch: 1, generation: 1, name: "step-2", isFinal: false)
    bench.send(.checkpointStored(first, pruned: []))
    bench.send(.checkpointsVerified(JobID(1), newest: first, damaged: []))
    #expect(bench.logs.contains("generation 2 ends: the checkpoint of step 2 was stored meanwhile"))
    bench.wait(.milliseconds(100))
    guard case .begin(let briefing) = bench.lastOrder(2) else {
      Issue.record("no generation began: \(String(describing: bench.lastOrder(2)))")
      return
    }
    #expect(briefing.checkpoint == first)
    bench.send(.checkpointsVerified(JobID(1), newest: first, damaged: []))
    #expect(bench.orders[ConnectionID(2)]?.contains(.sync(briefing.stamp, step: 2, .checkpoint)) == true)
  }

  @Test("a member that comes back with an old state goes on from it only when the desk has no newer checkpoint")
  func oldStateComesBack() {
    var bench = Bench()
    bench.job(JobSettings(maximumWorkers: 1))
    bench.start(1)
    bench.wait(.milliseconds(3000))
    bench.kill(1)
    bench.hello(3, introduction: 1, stamp: Stamp(job: JobID(1), generation: 1), step: 3)
    bench.wait(.milliseconds(1500))
    bench.send(.position(ConnectionID(3), second, hasState: true, committedStep: 3))
    #expect(bench.verifying == [JobID(1)])
    bench.send(.checkpointsVerified(JobID(1), newest: nil, damaged: []))
    #expect(bench.lastOrder(3) == .sync(second, step: 3, .peer(rank: 0)))
  }

  @Test("a checkpoint that is newer than any member's state wins")
  func checkpointAhead() {
    var bench = restarted(snapshot(ended: "all lost"))
    bench.hello(8, stamp: Stamp(job: JobID(1), generation: 3), step: 250)
    bench.wait(.milliseconds(1100))
    bench.send(.position(ConnectionID(8), Stamp(job: JobID(1), generation: 5), hasState: true, committedStep: 250))
    #expect(bench.verifying == [JobID(1)])
  }

  @Test("a stored checkpoint replaces the pruned ones")
  func stored() {
    var bench = restarted(snapshot(ended: "all lost"))
    bench.send(.checkpointStored(checkpoint(400), pruned: [200]))
    #expect(bench.persisted.suffix(2) == [.checkpoint(checkpoint(400)), .checkpointRemoved(JobID(1), step: 200)])
    #expect(bench.reason(JobID(1)) == "0 of 1 workers; from checkpoint step 400")
  }
}
