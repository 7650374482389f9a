// A worker process from start to exit: threads and sockets around MemberMachine.
// Events come from the control thread, the mesh thread, the training thread, the outbox and the signal thread. Each is one step of the
// machine, and its effects are carried out before the next step: both under one lock. No effect waits for another thread.
import Communication
import Foundation
public import Logging
import Synchronization

/// Runs one worker.
public final class WorkerSession: Sendable {
  private let configuration: WorkerConfiguration
  private let log: Logger
  private let forwarding = LogForwarding()
  private let mailbox = Mailbox<MemberEvent>()
  private let machine: Mutex<MemberMachine>
  private let exitCode = Mutex<Int32?>(nil)
  private let board = ProgressBoard()
  private let parts = Mutex<Parts?>(nil)
  private let start = ContinuousClock.now
  /// The service manager that started this process, if one did.
  private let notifier = ServiceNotifier()
  private static let tickInterval = Duration.milliseconds(50)

  /// What carries out the effects.
  private struct Parts: Sendable {
    var client: ControlClient
    var outbox: Outbox
    var runner: MemberRunner
    var hello: WireWorkerHello
  }

  /// Prepares a worker; nothing is started yet.
  public init(_ configuration: WorkerConfiguration, log: Logger) {
    self.configuration = configuration
    var log = log
    log.handler = ForwardingLogHandler(log.handler) { [forwarding] in forwarding.send($0) }
    self.log = log
    var limits = MemberMachine.Limits()
    limits.coordinator = configuration.coordinator
    limits.once = configuration.once
    limits.coordinatorTimeout = configuration.coordinatorTimeout
    machine = Mutex(MemberMachine(limits: limits, at: .zero))
  }

  /// What the owner of this machine should know about the addresses that were chosen.
  public var networkWarnings: [String] { configuration.networkWarnings }

  /// A signal asks this worker to leave; from any thread.
  public func leave(signal name: String) { mailbox.post(.signal(name: name)) }

  /// Works until there is a reason to exit; returns the exit code.
  ///
  /// - Throws: `CommunicationError` when the mesh cannot listen or the coordinator's endpoint makes no sense.
  public func run() throws -> Int32 {
    // Under the machine's lock: the control thread may have its first event before everything is there to act on it.
    let client = try machine.withLock { _ in
      let parts = try assemble()
      self.parts.withLock { $0 = parts }
      return parts.client
    }
    defer {
      client.close(grace: .milliseconds(50))
      logTotals()
    }
    notifier?.ready()
    defer { notifier?.stopping() }
    // A third of the watchdog's time: one sign of life may be lost.
    var watch = ProgressWatch(interval: (notifier?.watchdogInterval ?? .seconds(30)) / 3)
    var lastTick = ContinuousClock.now
    while true {
      if let event = mailbox.take(within: Self.tickInterval) { step(event) }
      if ContinuousClock.now - lastTick >= Self.tickInterval {
        lastTick = .now
        step(.tick)
        tell(&watch)
      }
      if let code = exitCode.withLock({ $0 }) { return code }
    }
  }

  /// Tells the service manager what this worker does, and that it gets somewhere.
  private func tell(_ watch: inout ProgressWatch) {
    guard let notifier, watch.isDue(activity: board.activity, steps: board.total.steps, at: .now - start) else {
      return
    }
    notifier.status("\(board.activity.name), \(board.total.steps) steps")
    if notifier.watchdogInterval != nil { notifier.alive() }
  }

  /// What a process that cannot even start a session should exit with.
  public static func exitCode(of error: any Error) -> Int32 { JobFailure(error).exitCode }

  private func assemble() throws -> Parts {
    let mesh = try PeerMesh(
      PeerMesh.Configuration(
        interface: configuration.dataInterface, ipcDirectory: try configuration.makeRuntimeDirectory(),
        isEncrypted: !configuration.insecure),
      onPeerLost: { [mailbox] loss in
        let key = GenerationKey(job: loss.job, generation: loss.generation)
        mailbox.post(.peerLost(key, rank: loss.rank, evidence: loss.evidence))
      })
    let client = try ControlClient(
      // A little before the machine's own limit, so that it can say what the trouble was.
      ControlClient.Configuration(
        endpoint: configuration.coordinator, security: configuration.security,
        unreachableLimit: configuration.coordinatorTimeout * 0.9)
    ) { [self] event, _ in handle(event) }
    let outbox = Outbox { [mailbox, log] report in
      switch report {
      case .delivered(let name): log.debug("delivered \(name)")
      case .refused(let name, let reason, let again):
        log.warning("the coordinator refuses \(name): \(reason)\(again ? "; trying again" : "")")
      case .failed(let key, let error): mailbox.post(.failed(key, JobFailure(error)))
      }
    }
    let services = WorkerServices(
      coordinator: client, tell: { client.send($0) }, mesh: mesh, outbox: outbox, board: board,
      threads: configuration.threads, log: log)
    let runner = MemberRunner(services) { [mailbox] in mailbox.post($0) }
    forwarding.open { client.send($0) }
    return Parts(client: client, outbox: outbox, runner: runner, hello: configuration.hello(mesh))
  }

  /// One event of the control connection, on its thread: what the machine answers to `.connected` goes out first.
  private func handle(_ event: ControlClient.Event) {
    switch event {
    case .connected: step(.linkUp)
    case .disconnected(let reason): step(.linkDown(reason: reason))
    case .unreachable(let error): step(.linkDown(reason: error.message))
    case .incompatible(let error):
      step(.refused(reason: error.message, remedy: error.hint, exitCode: error.exitCode))
    case .received(let envelope):
      do {
        if let event = try MemberEvent(envelope) { step(event) }
      } catch {
        log.warning("dropped a message of the coordinator: \(error)")
      }
    case .tick: break
    }
  }

  private func step(_ event: MemberEvent) {
    machine.withLock { machine in
      let effects = machine.step(event, at: ContinuousClock.now - start)
      guard let parts = parts.withLock({ $0 }) else { return }
      for effect in effects { perform(effect, parts) }
    }
  }

  private func perform(_ effect: MemberEffect, _ parts: Parts) {
    switch effect {
    case .send(.leave(let reason)): announceLeave(reason, parts.client)
    case .send(let message): parts.client.send(message.envelope(context(parts)))
    case .interrupt(let reason): parts.runner.interrupt(reason)
    case .form(let assignment):
      forwarding.enter(job: assignment.key.job)
      parts.runner.form(assignment)
    case .synchronize(let key, let target): parts.runner.synchronize(key, target)
    case .train(let key): parts.runner.train(key)
    case .stop(let key, let step, let saves): parts.runner.stop(key, step: step, saves: saves)
    case .standBy(let order):
      forwarding.enter(job: order.job)
      parts.runner.standBy(order)
    case .saveAndStop(let key): parts.runner.saveAndStop(key)
    case .drop(let job):
      forwarding.enter(job: nil)
      parts.runner.drop(job: job)
    case .log(let level, let text): log.log(level: level, "\(text)")
    case .exit(let code): exitCode.withLock { $0 = code }
    }
  }

  private func context(_ parts: Parts) -> MemberMessage.Context {
    var activity = board.activity
    if activity == .idle, !parts.outbox.isEmpty { activity = .saving }
    return MemberMessage.Context(
      hello: parts.hello, committedStep: board.committedStep, phase: board.words(for: activity),
      residentByteCount: ProcessMemory.resident, shardMicroseconds: board.shardMicroseconds)
  }

  /// Asks for an answer, off this thread: no effect may wait.
  private func announceLeave(_ reason: String, _ client: ControlClient) {
    var leave = WireLeave()
    leave.reason = reason
    Thread.detachNewThread { [mailbox, leave] in
      if (try? client.request(.leave(leave), timeout: .seconds(2))) != nil {
        mailbox.post(.leaveAcknowledged)
      }
    }
  }

  private func logTotals() {
    let total = board.total
    let time = board.stepTime
    if time.total > .zero {
      let share = String(format: "%.1f", 100 * (time.waited / time.total))
      log.info("steps took \(time.total), \(share) % of it waiting for gradients")
    }
    let mebibytes = Double(ProcessMemory.peakResident) / 1_048_576
    log.info(
      "\(total.steps) steps, \(total.images) images, peak resident memory \(String(format: "%.1f", mebibytes)) MiB")
  }
}
