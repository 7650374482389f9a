// The training thread: carries out what MemberMachine decides about a generation, one task after the other.
// Tasks of a generation that has been interrupted meanwhile do nothing; the memory of the job stays for the next generation.
import Communication
import Foundation
import Logging
import Synchronization
import Training

/// Does the work of a member on a thread of its own.
///
/// `@unchecked Sendable` because `memory`, `dataset` and `trainer` are touched by tasks only, and tasks run on the one thread.
final class MemberRunner: @unchecked Sendable {
  private let services: WorkerServices
  private let report: @Sendable (MemberEvent) -> Void
  private let tasks = Mailbox<@Sendable () -> Void>()
  private let current = Mutex<GenerationRun?>(nil)
  private let keeper: JobKeeper
  private var trainer: Trainer?
  private var loop: TrainingLoop?
  private var startsFromCheckpoint = false
  private let warmUp = Mutex<Interruption?>(nil)

  /// Starts the thread; it lives as long as the process.
  ///
  /// - Parameter report: called on the thread with what came of each task.
  init(_ services: WorkerServices, report: @escaping @Sendable (MemberEvent) -> Void) {
    self.services = services
    self.report = report
    keeper = JobKeeper(services)
    let thread = Thread { [tasks] in
      while let task = tasks.take() { task() }
    }
    thread.name = "training"
    thread.stackSize = 8 << 20
    thread.start()
  }

  // MARK: Orders, from the session; none of them waits.

  /// Connects to the members of a new generation.
  func form(_ assignment: Assignment) {
    let run = GenerationRun(assignment)
    // Whatever is still missing is fetched again: an answer to the order must not wait for it.
    warmUp.withLock { $0?.interrupt("the generation begins") }
    current.withLock { $0 = run }
    services.outbox.enter(run.key)
    post(run) { try $0.form(run) }
  }

  /// Gets data and state.
  func synchronize(_ key: GenerationKey, _ target: Synchronization) {
    guard let run = run(key) else { return }
    post(run) { try $0.synchronize(run, target) }
  }

  /// Trains to the end.
  func train(_ key: GenerationKey) {
    guard let run = run(key) else { return }
    post(run) { try $0.train(run) }
  }

  /// Stops at a step that is announced ahead.
  func stop(_ key: GenerationKey, step: UInt64, saves: Bool) {
    run(key)?.requestStop(at: step, saves: saves)
  }

  /// Gets ready for a job that goes on meanwhile.
  func standBy(_ order: StandbyOrder) {
    let interruption = Interruption()
    warmUp.withLock { last in
      last?.interrupt("standing by for another job")
      last = interruption
    }
    tasks.post { [self] in
      guard !interruption.isInterrupted else { return }
      defer { services.board.activity = .idle }
      do {
        let memory = try keeper.recall(order, interruption)
        if memory.state == nil, memory.spare == nil {
          memory.spare = try TrainingState.initial(plan: memory.plan, initialWeights: nil)
        }
      } catch {
        // The generation meets the same error, and answers for it.
        if interruption.isInterrupted { return }
        services.log.warning("job \(order.job): not ready: \(error)")
      }
      report(.warmed(job: order.job))
    }
  }

  /// Saves after the step in flight, and reports when the coordinator has it.
  func saveAndStop(_ key: GenerationKey) {
    guard let run = run(key) else { return }
    run.requestStop(at: 0, saves: true)
    post(run) { runner in
      try runner.loop?.save()
      try runner.deliver(run)
      return .saved(key)
    }
  }

  /// Stops whatever runs; waiters wake at once.
  func interrupt(_ reason: String) {
    guard let run = current.withLock({ $0 }) else { return }
    run.interruption.interrupt(reason)
    services.mesh.end(job: run.key.job, generation: run.key.generation, reason: reason)
  }

  /// Forgets the job.
  func drop(job: UInt64) {
    warmUp.withLock { $0?.interrupt("the job is over") }
    services.outbox.drop()
    tasks.post { [self] in
      trainer = nil
      loop = nil
      keeper.drop(job: job)
      services.board.committedStep = 0
      services.board.activity = .idle
    }
  }

  private func run(_ key: GenerationKey) -> GenerationRun? {
    current.withLock { $0?.key == key ? $0 : nil }
  }

  private func post(_ run: GenerationRun, _ work: @escaping @Sendable (MemberRunner) throws -> MemberEvent?) {
    tasks.post { [self] in
      guard !run.interruption.isInterrupted else { return }
      do {
        if let event = try work(self) { report(event) }
      } catch {
        if let event = MemberEvent(failure: error, of: run) { report(event) }
      }
      services.board.activity = .idle
    }
  }

  // MARK: Tasks, on the thread.

  private func form(_ run: GenerationRun) throws -> MemberEvent {
    services.board.activity = .synchronizing
    trainer = nil
    loop = nil
    let state = keeper.state(of: run.key.job)
    services.board.committedStep = state.map { UInt64($0.committedStep) } ?? 0
    try services.mesh.form(MeshMembership(run.assignment), timeout: .seconds(10))
    services.mesh.serveState { try StateTransfer.serve(state, step: $0, run) }
    return .formed(run.key, step: state.map { UInt64($0.committedStep) })
  }

  private func synchronize(_ run: GenerationRun, _ target: Synchronization) throws -> MemberEvent {
    let memory = try keeper.recall(run)
    services.board.activity = .synchronizing
    let state = try StateTransfer.obtain(memory, run, target, services)
    services.board.committedStep = UInt64(state.committedStep)
    startsFromCheckpoint = target.source == .checkpoint
    trainer = try Trainer(
      plan: memory.plan, state: state, dataset: memory.dataset, ranges: run.ranges, rank: run.assignment.rank,
      threads: services.threads,
      makeVector: run.ranges.count > 1 ? FloatVector.shared : { FloatVector(count: $0) })
    // The first rank stores the checkpoints.
    if run.assignment.rank == 0 { memory.snapshots.prepare(for: state, plan: memory.plan) }
    return .synchronized(run.key, step: UInt64(state.committedStep))
  }

  private func train(_ run: GenerationRun) throws -> MemberEvent? {
    guard let memory = keeper.memory, let trainer else { return nil }
    run.startTraining()
    let loop = try TrainingLoop(run: run, memory: memory, trainer: trainer, services: services)
    self.loop = loop
    if try loop.train(startsFromCheckpoint: startsFromCheckpoint) { return .trained(run.key) }
    try deliver(run)
    return .stopped(run.key, step: UInt64(loop.trainer.state.committedStep))
  }

  /// Waits until the coordinator has everything that was queued for it, when a stop asks for that.
  private func deliver(_ run: GenerationRun) throws {
    guard run.dueStop(at: .max)?.saves == true else { return }
    services.board.activity = .saving
    while !services.outbox.isEmpty {
      try run.interruption.check()
      Thread.sleep(forTimeInterval: 0.005)
    }
  }
}

extension MemberEvent {
  /// What a task's error means; nil when it only says that the generation is over, which the session knows.
  init?(failure error: any Error, of run: GenerationRun) {
    if run.interruption.isInterrupted { return nil }
    if let error = error as? CommunicationError {
      // A lost peer is reported by the mesh itself, with its rank. Anything else between members accuses nobody: this member
      // names itself, which the coordinator answers with a fresh generation.
      if error.code == .peerLost || error.code == .generationEnded { return nil }
      self = .peerLost(run.key, rank: run.assignment.rank, evidence: error.description)
    } else {
      self = .failed(run.key, JobFailure(error))
    }
  }
}

extension MeshMembership {
  init(_ assignment: Assignment) {
    self.init(
      job: assignment.key.job, generation: assignment.key.generation, rank: assignment.rank,
      peers: assignment.peers.map {
        MeshPeer(name: $0.name, dataEndpoint: $0.dataEndpoint, ipcEndpoint: $0.localEndpoint, host: $0.host)
      }, keys: assignment.keys)
  }
}
