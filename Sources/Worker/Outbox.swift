// What rank 0 owes the coordinator (checkpoints, results of epochs, the end of the job), delivered in order on a thread of its
// own, again and again until the coordinator has it: steps go on while the coordinator is away or its disk is full. What is tried
// when is decided by DeliveryLine.
import Communication
import Foundation
import Synchronization

/// One thing to deliver.
struct Delivery: Sendable {
  /// What the coordinator said.
  enum Outcome: Sendable, Hashable {
    case delivered
    case refused(reason: String)
  }

  /// For the log: "the checkpoint of step 120".
  var name: String
  /// The job it belongs to; with the job it is dropped.
  var job: UInt64
  /// Whether a refusal (a full disk) is tried again, because the job cannot end without it.
  var insists: Bool
  /// Tries once, for the newest generation; throws what the connection throws.
  var attempt: @Sendable (GenerationKey, Interruption) throws -> Outcome
  /// Called once when it is delivered, given up or dropped.
  var settled: @Sendable () -> Void = {}
}

/// Delivers in order, on its own thread.
final class Outbox: Sendable {
  /// What the outbox tells its owner, on its thread.
  enum Report: Sendable {
    case delivered(String)
    case refused(String, reason: String, again: Bool)
    case failed(GenerationKey, any Error)
  }

  private struct Shared {
    var interruption = Interruption()
    var line: DeliveryLine<Delivery>
  }

  private let shared: Mutex<Shared>
  private let added = DispatchSemaphore(value: 0)
  private let report: @Sendable (Report) -> Void

  /// Starts the thread; it lives as long as the process.
  ///
  /// - Parameter retryPause: before a refused delivery that insists is tried again, from the third refusal on.
  init(retryPause: Duration = .seconds(5), report: @escaping @Sendable (Report) -> Void) {
    shared = Mutex(Shared(line: DeliveryLine(retryPause: retryPause)))
    self.report = report
    let thread = Thread { [self] in
      while true {
        added.wait()
        deliverAll()
      }
    }
    thread.name = "outbox"
    thread.start()
  }

  /// From now on deliveries go out under this generation; those of the job before are dropped.
  func enter(_ key: GenerationKey) { change { $0.enter(key) } }

  /// Forgets everything: the job is over.
  func drop() { change { $0.drop() } }

  /// Appends a delivery to the line.
  func add(_ delivery: Delivery) {
    shared.withLock {
      $0.line.add(DeliveryLine.Entry(job: delivery.job, insists: delivery.insists, item: delivery))
    }
    added.signal()
  }

  /// Whether nothing is left to deliver.
  var isEmpty: Bool { shared.withLock { $0.line.isEmpty } }

  /// Settles what a change drops, and interrupts what is under way.
  private func change(_ body: (inout DeliveryLine<Delivery>) -> [Delivery]) {
    let dropped = shared.withLock { shared in
      let dropped = body(&shared.line)
      if shared.line.isDropping {
        shared.interruption.interrupt("the job is over")
        shared.interruption = Interruption()
      }
      return dropped
    }
    for delivery in dropped { delivery.settled() }
  }

  private func deliverAll() {
    while true {
      let (next, interruption) = shared.withLock { ($0.line.next(), $0.interruption) }
      switch next {
      case .nothing: return
      case .dropped(let delivery): delivery.settled()
      case .attempt(let delivery, let key): attempt(delivery, key, interruption)
      }
    }
  }

  private func attempt(_ delivery: Delivery, _ key: GenerationKey, _ interruption: Interruption) {
    let outcome = outcome(of: delivery, key, interruption)
    switch shared.withLock({ $0.line.conclude(outcome) }) {
    case .settled(let refusal):
      if let refusal { report(.refused(delivery.name, reason: refusal, again: false)) }
      delivery.settled()
    case .again(let pause, let refusal):
      if let refusal { report(.refused(delivery.name, reason: refusal, again: true)) }
      self.pause(pause, interruption)
    }
  }

  private func outcome(of delivery: Delivery, _ key: GenerationKey, _ interruption: Interruption) -> DeliveryOutcome {
    do {
      switch try delivery.attempt(key, interruption) {
      case .delivered:
        report(.delivered(delivery.name))
        return .delivered
      case .refused(let reason): return .refused(reason: reason)
      }
    } catch let error as CommunicationError {
      return error.code == .refused ? .refused(reason: error.message) : .unreachable
    } catch {
      if !interruption.isInterrupted { report(.failed(key, error)) }
      return .failed
    }
  }

  private func pause(_ duration: Duration, _ interruption: Interruption) {
    let deadline = ContinuousClock.now + duration
    while ContinuousClock.now < deadline, !interruption.isInterrupted { Thread.sleep(forTimeInterval: 0.02) }
  }
}
