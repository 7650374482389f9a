// What people ask of jobs, and what a job does before it obeys.
import Coordinator
import RunStore
import Testing

@Suite struct ControlTests {
  /// A job that two workers train.
  private func training() -> (Bench, JobID) {
    var bench = Bench()
    let job = bench.job(JobSettings(maximumWorkers: 2))
    bench.start(1)
    bench.start(2)
    bench.wait(.seconds(3))
    return (bench, job)
  }

  private func ask(_ bench: inout Bench, _ verb: JobVerb, _ job: JobID) -> Answer? {
    let request = RequestID(UInt64(bench.answers.count + 100))
    bench.send(.control(request, job, verb))
    return bench.answers[request]
  }

  @Test("pausing stores a checkpoint of the newest step, gives the workers back, and resuming goes on from there")
  func pause() throws {
    var (bench, job) = training()
    guard case .controlled(true, let promise) = ask(&bench, .pause, job) else {
      Issue.record("another answer")
      return
    }
    #expect(promise.hasPrefix("stores a checkpoint of step "))
    #expect(bench.persisted.last == .intent(job, .pause))
    bench.wait(.seconds(2))
    let stored = try #require(
      bench.persisted.compactMap { if case .checkpoint(let record) = $0 { record.step } else { nil } }.last)
    #expect(bench.reason(job) == "paused at step \(stored)")
    #expect(bench.states(of: job).last == .paused)
    #expect(bench.persisted.contains(.intent(job, nil)))
    for number in 1...2 as ClosedRange<UInt64> {
      guard case .end(_, _, jobOver: true) = bench.lastOrder(number) else {
        Issue.record("another answer")
        return
      }
    }
    bench.wait(.seconds(5))
    #expect(bench.generations.count == 1, "a paused job takes no workers")
    #expect(ask(&bench, .pause, job) == .controlled(accepted: true, reason: "job 1 is paused at step \(stored)"))

    #expect(
      ask(&bench, .resume, job) == .controlled(accepted: true, reason: "goes on from the checkpoint of step \(stored)"))
    bench.wait(.seconds(2))
    #expect(bench.generations.count == 2)
    #expect(bench.verifying == [job], "nobody kept the state: the checkpoint is read")
    #expect(ask(&bench, .resume, job) == .controlled(accepted: false, reason: "job 1 is running, not paused"))
  }

  @Test("a pause can be taken back before it has come")
  func withdrawPause() throws {
    var (bench, job) = training()
    for _ in 0..<2 {
      _ = ask(&bench, .pause, job)
      #expect(
        ask(&bench, .resume, job) == .controlled(accepted: true, reason: "the pause is taken back, the job goes on"))
      #expect(bench.persisted.last == .intent(job, nil))
      bench.wait(.seconds(5))
    }
    #expect(bench.states(of: job).last == .running && !bench.states(of: job).contains(.paused))
    #expect(bench.generations.count == 3, "the members stop where they were told to, and go on")
  }

  @Test("cancelling stores a checkpoint first, then ends the job")
  func cancel() {
    var (bench, job) = training()
    _ = ask(&bench, .cancel, job)
    #expect(bench.states(of: job).last == .running)
    bench.wait(.seconds(2))
    #expect(bench.states(of: job).last == .cancelled)
    #expect(bench.reason(job).hasPrefix("cancelled at step "))
    #expect(!bench.reason(job).contains("no checkpoint"))
    #expect(ask(&bench, .cancel, job) == .controlled(accepted: false, reason: "job 1 is cancelled already"))
    #expect(ask(&bench, .kill, JobID(7)) == .controlled(accepted: false, reason: "there is no job 7"))
  }

  @Test("a disk that takes no checkpoint does not keep a job from being cancelled after 20 s, and the loss is said")
  func cancelWithoutDisk() {
    var (bench, job) = training()
    bench.storesCheckpoints = false
    _ = ask(&bench, .cancel, job)
    bench.wait(.seconds(19))
    #expect(bench.states(of: job).last == .running)
    bench.wait(.seconds(2))
    #expect(bench.states(of: job).last == .cancelled)
    #expect(bench.reason(job).contains("steps are in no checkpoint"))
  }

  @Test("killing ends a job at once")
  func kill() {
    var (bench, job) = training()
    _ = ask(&bench, .kill, job)
    #expect(bench.states(of: job).last == .cancelled)
    #expect(bench.reason(job).hasPrefix("killed at step "))
    guard case .end(_, _, jobOver: true) = bench.lastOrder(1) else {
      Issue.record("another answer")
      return
    }
  }

  @Test("a queued job pauses and ends at once, and a paused one can be cancelled")
  func queued() {
    var bench = Bench()
    let job = bench.job()
    #expect(ask(&bench, .pause, job) == .controlled(accepted: true, reason: "paused at step 0"))
    bench.start(1)
    bench.wait(.seconds(3))
    #expect(bench.generations.isEmpty)
    #expect(ask(&bench, .cancel, job) == .controlled(accepted: true, reason: "cancelled at step 0"))
  }

  @Test("a member that dies while the checkpoint is stored does not make the pause forgotten")
  func memberDiesMeanwhile() {
    var (bench, job) = training()
    bench.storesCheckpoints = false
    _ = ask(&bench, .pause, job)
    bench.wait(.seconds(1))
    bench.kill(1)
    bench.storesCheckpoints = true
    bench.wait(.seconds(3))
    #expect(bench.states(of: job).last == .paused)
    #expect(!bench.reason(job).contains("no checkpoint"))
  }

  @Test("a failed job is tried again from its newest checkpoint with a fresh budget; a finished one is not")
  func retry() {
    var (bench, job) = training()
    bench.send(
      .checkpointStored(
        CheckpointRecord(job: job, step: 4, epoch: 1, generation: 1, name: "step-4", isFinal: false), pruned: []))
    bench.send(.failed(ConnectionID(1), Stamp(job: job, generation: 1), message: "no disk", hint: ""))
    #expect(bench.states(of: job).last == .failed)
    bench.send(.retry(RequestID(90), job, JobSettings(maximumWorkers: 2)))
    #expect(
      bench.answers[RequestID(90)] == .controlled(accepted: true, reason: "tried again from the checkpoint of step 4"))
    #expect(bench.states(of: job).last == .queued || bench.states(of: job).last == .running)
    bench.wait(.seconds(2))
    #expect(bench.verifying == [job])
    #expect(bench.generations.map(\.number) == [1, 2], "numbers go on")

    bench.send(.retry(RequestID(91), job, JobSettings()))
    #expect(bench.answers[RequestID(91)] == .controlled(accepted: false, reason: "job 1 is running"))
    bench.send(.retry(RequestID(92), JobID(9), JobSettings()))
    #expect(bench.answers[RequestID(92)] == .controlled(accepted: false, reason: "there is no job 9"))
  }

  @Test("a fork knows its checkpoint from the beginning")
  func fork() {
    var bench = Bench()
    let checkpoint = CheckpointRecord(
      job: JobID(0), step: 40, epoch: 2, generation: 3, name: "step-00000040", isFinal: true)
    bench.send(
      .submit(
        RequestID(1), JobRecord(id: JobID(0), name: "fork", spec: ""), JobSettings(maximumWorkers: 1),
        checkpoint: checkpoint))
    bench.send(.datasetReady(JobID(1), "strip"))
    bench.start(1)
    guard case .begin(let briefing) = bench.orders[ConnectionID(1)]?.dropFirst().first else {
      Issue.record("another answer")
      return
    }
    #expect(briefing.checkpoint?.step == 40 && briefing.checkpoint?.job == JobID(1))
    #expect(bench.verifying == [JobID(1)])
  }

  @Test("a drained worker leaves its job to the others and gets no more work, at no cost to the job's budget")
  func drain() {
    var (bench, job) = training()
    bench.send(.drain(RequestID(70), name: "host-2"))
    #expect(bench.answers[RequestID(70)] == .drained(["host-2"]))
    bench.wait(.seconds(2))
    #expect(bench.scripted[ConnectionID(2)]?.isDrained == true)
    #expect(bench.generations.last?.members.map(\.worker) == [WorkerID(1)])
    #expect(bench.logs.contains("generation 1 ends: w-2 leaves: drained"))
    #expect(bench.reason(job).hasPrefix("generation 2: 1 worker"))
    bench.send(.drain(RequestID(71), name: "nobody"))
    #expect(bench.answers[RequestID(71)] == .drained([]))
  }

  @Test("an idle worker that is drained is not given the job that comes next")
  func drainIdle() {
    var bench = Bench()
    bench.hello(1)
    bench.send(.drain(RequestID(70), name: "1"))
    bench.job(JobSettings(maximumWorkers: 1))
    bench.wait(.seconds(2))
    #expect(bench.generations.isEmpty)
  }
}
