// Who works on what, and when a generation begins.
import Coordinator
import RunStore
import Testing

@Suite struct SchedulingTests {
  @Test("a job starts when the join window after the latest arrival has passed")
  func joinWindow() {
    var bench = Bench()
    let job = bench.job()
    #expect(bench.reason(job) == "0 of 1 workers")
    bench.start(1)
    #expect(bench.reason(job) == "1 of 8 workers; waiting for more to arrive")
    bench.wait(.milliseconds(800))
    bench.start(2)
    bench.wait(.milliseconds(950))
    #expect(bench.generations.isEmpty)
    bench.wait(.milliseconds(100))
    #expect(bench.generations.map(\.members.count) == [2])
    #expect(bench.reason(job).hasPrefix("generation 1: 2 workers, step"))
    #expect(bench.states(of: job) == [.preparing, .queued, .running])
  }

  @Test("a trickle of arrivals holds a job up for five windows at most")
  func bounded() {
    var bench = Bench()
    bench.job(JobSettings(shardCount: 64, maximumWorkers: 64))
    for number in 1...12 as ClosedRange<UInt64> {
      bench.start(number)
      bench.wait(.milliseconds(500))
    }
    #expect(bench.generations.first?.members.count == 10)
  }

  @Test("a full house does not wait")
  func full() {
    var bench = Bench()
    bench.job(JobSettings(maximumWorkers: 2))
    bench.start(1)
    bench.start(2)
    #expect(bench.generations.map { $0.members.map(\.shards) } == [[0..<4, 4..<8]])
  }

  @Test("more workers than shards: the rest stays idle")
  func surplus() {
    var bench = Bench()
    bench.job(JobSettings(shardCount: 2))
    for number in 1...3 as ClosedRange<UInt64> { bench.start(number) }
    bench.wait(.seconds(5))
    #expect(bench.generations.map(\.members.count) == [2])
  }

  @Test("the first job gets every idle worker, also while it waits for more; the next job waits its turn")
  func order() {
    var bench = Bench()
    let first = bench.job(JobSettings(minimumWorkers: 2, maximumWorkers: 2))
    let second = bench.job()
    bench.start(1)
    bench.wait(.seconds(10))
    #expect(bench.reason(first) == "1 of 2 workers")
    #expect(bench.reason(second) == "0 of 1 workers; 1 job ahead")
    bench.start(2)
    bench.start(3)
    bench.wait(.seconds(2))
    #expect(bench.generations.map(\.job) == [first, second])
  }

  @Test("a job whose data set is being made holds no workers")
  func preparing() {
    var bench = Bench()
    bench.send(.submit(RequestID(1), JobRecord(id: JobID(0), name: "slow", spec: ""), JobSettings()))
    bench.send(.datasetProgress(JobID(1), "4000 of 16000 samples"))
    #expect(bench.reason(JobID(1)) == "4000 of 16000 samples")
    #expect(bench.preparing == [JobID(1)])
    let second = bench.job()
    bench.start(1)
    bench.wait(.seconds(2))
    #expect(bench.generations.map(\.job) == [second])
  }

  @Test("a data set that cannot be made fails the job and says why")
  func noData() {
    var bench = Bench()
    bench.send(.submit(RequestID(1), JobRecord(id: JobID(0), name: "x", spec: ""), JobSettings()))
    bench.send(.datasetFailed(JobID(1), "/data/x: no such directory"))
    #expect(bench.states(of: JobID(1)) == [.preparing, .failed])
    #expect(bench.reason(JobID(1)) == "its data set cannot be made: /data/x: no such directory")
  }

  @Test("the same idempotency key is the same job")
  func idempotent() {
    var bench = Bench()
    let job = bench.job(key: "a")
    bench.send(.submit(RequestID(9), JobRecord(id: JobID(0), name: "x", spec: "", idempotencyKey: "a"), JobSettings()))
    #expect(bench.answers[RequestID(9)] == .submitted(job, existed: true))
    #expect(bench.job(key: "b") != job)
  }

  @Test("a newcomer joins a running job after the join window, and the members keep their state")
  func newcomer() {
    var bench = Bench()
    bench.job()
    bench.start(1)
    bench.wait(.seconds(3))
    bench.start(2)
    bench.wait(.milliseconds(900))
    #expect(bench.generations.count == 1)
    bench.wait(.seconds(2))
    #expect(bench.generations.map { $0.members.map(\.worker.rawValue) } == [[1], [1, 2]])
    #expect(bench.logs.contains("generation 1 ends: w-2 joins"))
    let step = bench.orders[ConnectionID(2)]?.compactMap { order -> UInt64? in
      if case .sync(_, let step, .peer(rank: 0)) = order { step } else { nil }
    }
    #expect(try! #require(step?.first) > 5)
  }

  @Test("the end of a job sets its workers free for the next")
  func next() {
    var bench = Bench()
    bench.finishAt = 10
    let first = bench.job()
    let second = bench.job()
    bench.start(1)
    bench.wait(.seconds(5))
    #expect(bench.states(of: first).last == .finished)
    #expect(bench.reason(first) == "finished at step 10")
    bench.wait(.seconds(5))
    #expect(bench.states(of: second).last == .finished)
    #expect(bench.persisted.contains(.result(second, sha256: "hash", json: "{}")))
  }

  @Test("a worker of another version is refused with exit code 78")
  func version() {
    var bench = Bench(programVersion: "2.0")
    bench.send(.hello(ConnectionID(1), Bench.introduction(1, version: "1.9")))
    #expect(
      bench.lastOrder(1)
        == .refused(
          reason: "worker 'host-1' is version 1.9, the coordinator 2.0",
          remedy: "install version 2.0 on the worker; other versions may compute other bits", exitCode: 78))
    bench.send(.hello(ConnectionID(2), Bench.introduction(2, version: "2.0")))
    #expect(bench.lastOrder(2) == .welcome(WorkerID(1)))
  }
}
