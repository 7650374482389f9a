// Many simulated workers on one real coordinator: heartbeats over real sockets from this process, joins and leaves among them.
// Only on request, because it measures: TEMPER_LOAD_WORKERS=1000 for the figures of Docs/Results.
import Communication
import Foundation
import Synchronization
import Testing

/// A worker of which only the control connection is real.
private final class SimulatedWorker: Sendable {
  private let client: ControlClient

  /// Connects and introduces itself.
  ///
  /// - Parameter welcomed: called on the connection's thread with the time from Hello to Welcome.
  init(_ endpoint: String, name: String, welcomed: @escaping @Sendable (Duration) -> Void) throws {
    let asked = Mutex<ContinuousClock.Instant?>(nil)
    client = try ControlClient(.init(endpoint: endpoint)) { event, client in
      switch event {
      case .connected:
        var hello = WireEnvelope()
        hello.workerHello.incarnation = UUID().uuidString
        hello.workerHello.name = name
        hello.workerHello.version = ProgramVersion.text
        asked.withLock { $0 = .now }
        client.send(hello)
      case .received(let envelope):
        guard case .welcome = envelope.body, let start = asked.withLock({ $0 }) else { return }
        welcomed(ContinuousClock.now - start)
      default: break
      }
    }
  }

  func beat() {
    var envelope = WireEnvelope()
    envelope.heartbeat.phase = "idle"
    envelope.heartbeat.residentBytes = 1 << 28
    client.send(envelope)
  }

  func close() { client.close() }

  func leave() {
    var envelope = WireEnvelope()
    envelope.leave.reason = "the test is over"
    client.send(envelope)
    client.close(grace: .milliseconds(50))
  }
}

@Suite(
  "One coordinator",
  .enabled(if: TestCluster.isEnabled && ProcessInfo.processInfo.environment["TEMPER_LOAD_WORKERS"] != nil),
  .serialized)
struct LoadTests {
  private static let environment = ProcessInfo.processInfo.environment
  private static let workerCount = environment["TEMPER_LOAD_WORKERS"].flatMap { Int($0) } ?? 200

  /// Processor time of a process so far, in seconds.
  private func processorSeconds(_ process: Process) throws -> Double {
    let text = try String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    let ticks = (Double(fields[11]) ?? 0) + (Double(fields[12]) ?? 0)
    return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  @Test("hears many workers with a fifth of a core, and a worker joins among them in less than a second")
  func manyWorkers() throws {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = min(limit.rlim_max, 65_536)
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    let coordinator = try #require(cluster.coordinator)
    let joins = Mutex<[Duration]>([])
    let start = ContinuousClock.now
    var workers = try (0..<Self.workerCount).map { index in
      try SimulatedWorker(cluster.endpoint, name: "w-\(index)") { time in joins.withLock { $0.append(time) } }
    }
    try wait("every worker is known", cluster) { joins.withLock { $0.count } == Self.workerCount }
    let allJoined = ContinuousClock.now - start
    let slowestOfAll = joins.withLock { $0.max() } ?? .zero

    // Ten seconds of heartbeats, each worker four a second, and meanwhile a leave and a join every half second.
    joins.withLock { $0 = [] }
    let seconds = Self.workerCount >= 1_000 ? 20 : 4
    let before = try processorSeconds(coordinator)
    let began = ContinuousClock.now
    for tick in 0..<seconds * 40 {
      let part = tick % 10
      for index in stride(from: part, to: workers.count, by: 10) { workers[index].beat() }
      if tick % 20 == 19 {
        let leaver = workers.removeFirst()
        DispatchQueue.global().async { leaver.leave() }
        workers.append(
          try SimulatedWorker(cluster.endpoint, name: "late-\(tick)") { time in joins.withLock { $0.append(time) } })
      }
      let next = began + .milliseconds(25 * (tick + 1))
      if ContinuousClock.now < next { Thread.sleep(forTimeInterval: (next - ContinuousClock.now) / .seconds(1)) }
    }
    let share = (try processorSeconds(coordinator) - before) / ((ContinuousClock.now - began) / .seconds(1))
    try wait("every late worker is known", cluster) { joins.withLock { $0.count } == seconds * 2 }
    let slowest = joins.withLock { $0.max() } ?? .zero
    print(
      "load: \(Self.workerCount) workers joined in \(allJoined), the slowest in \(slowestOfAll); heartbeats take "
        + "\((share * 1_000).rounded() / 10) % of a core; \(seconds * 2) joins among them, the slowest in \(slowest)")
    #expect(share < 0.2 && slowest < .seconds(1))
    for worker in workers { worker.close() }
  }

  private func wait(_ what: String, _ cluster: TestCluster, until condition: () -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: 60)
    while !condition() {
      guard Date() < deadline else { throw cluster.failure("not within 60 s: \(what)") }
      Thread.sleep(forTimeInterval: 0.01)
    }
  }
}
