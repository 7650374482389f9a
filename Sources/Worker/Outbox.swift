// What rank 0 owes the coordinator (checkpoints, results of epochs, the end of the job), delivered in order on a thread of its
// own, again and again until the coordinator has it: steps go on while the coordinator is away or its disk is full.
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
    var key: GenerationKey?
    var interruption = Interruption()
    var waiting: [Delivery] = []
    var isBusy = false
  }

  /// Refusals after which a delivery is given up, or tried again only every `retryPause`.
  ///
  /// More than one, because a coordinator that
  /// was started again knows nothing of an upload half done, and a generation may be over while the delivery is under way.
  private static let refusalLimit = 3

  private let shared = Mutex(Shared())
  private let added = DispatchSemaphore(value: 0)
  private let retryPause: Duration
  private let report: @Sendable (Report) -> Void

  /// Starts the thread; it lives as long as the process.
  ///
  /// - Parameter retryPause: before a refused delivery that insists is tried again, from the third refusal on.
  init(retryPause: Duration = .seconds(5), report: @escaping @Sendable (Report) -> Void) {
    self.retryPause = retryPause
    self.report = report
    let thread = Thread { [self] in
      while true {
        added.wait()
        deliverNext()
      }
    }
    thread.name = "outbox"
    thread.start()
  }

  /// From now on deliveries go out under this generation; those of the job before are dropped.
  func enter(_ key: GenerationKey) {
    if shared.withLock({ $0.key.map { $0.job != key.job } ?? false }) { drop() }
    shared.withLock { $0.key = key }
  }

  /// Forgets everything: the job is over.
  func drop() {
    let dropped = shared.withLock { shared in
      shared.interruption.interrupt("the job is over")
      shared.interruption = Interruption()
      shared.key = nil
      defer { shared.waiting = [] }
      return shared.waiting
    }
    for delivery in dropped { delivery.settled() }
  }

  /// Appends a delivery to the line.
  func add(_ delivery: Delivery) {
    shared.withLock { $0.waiting.append(delivery) }
    added.signal()
  }

  /// Whether nothing is left to deliver.
  var isEmpty: Bool { shared.withLock { $0.waiting.isEmpty && !$0.isBusy } }

  private func deliverNext() {
    let next = shared.withLock { shared -> (Delivery, Interruption)? in
      guard !shared.waiting.isEmpty else { return nil }
      shared.isBusy = true
      return (shared.waiting.removeFirst(), shared.interruption)
    }
    guard let (delivery, interruption) = next else { return }
    deliver(delivery, interruption)
    delivery.settled()
    shared.withLock { $0.isBusy = false }
  }

  private func deliver(_ delivery: Delivery, _ interruption: Interruption) {
    var said = ""
    var refusals = 0
    while !interruption.isInterrupted, let key = shared.withLock({ $0.key }), key.job == delivery.job {
      do {
        switch try outcome(of: delivery, key, interruption) {
        case .delivered:
          return report(.delivered(delivery.name))
        case .refused(let reason):
          refusals += 1
          let again = delivery.insists || refusals < Self.refusalLimit
          if reason != said || !again { report(.refused(delivery.name, reason: reason, again: again)) }
          said = reason
          guard again else { return }
          pause(refusals < Self.refusalLimit ? .milliseconds(300) : retryPause, interruption)
        }
      } catch is CommunicationError {
        pause(.milliseconds(200), interruption)
      } catch {
        if !interruption.isInterrupted { report(.failed(key, error)) }
        return
      }
    }
  }

  private func outcome(
    of delivery: Delivery, _ key: GenerationKey, _ interruption: Interruption
  ) throws -> Delivery.Outcome {
    do {
      return try delivery.attempt(key, interruption)
    } catch let error as CommunicationError where error.code == .refused {
      return .refused(reason: error.message)
    }
  }

  private func pause(_ duration: Duration, _ interruption: Interruption) {
    let deadline = ContinuousClock.now + duration
    while ContinuousClock.now < deadline, !interruption.isInterrupted { Thread.sleep(forTimeInterval: 0.02) }
  }
}
