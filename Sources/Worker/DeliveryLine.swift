// What rank 0 owes the coordinator, as a pure state machine: what is tried next and under which generation, when it is tried again,
// when it is given up. Outbox is the thread around it; a simulation runs it as it is.

/// What the coordinator said to a delivery.
package enum DeliveryOutcome: Sendable, Hashable {
  case delivered
  case refused(reason: String)
  /// Nobody answered.
  case unreachable
  /// It cannot be delivered, now or later.
  case failed
}

/// A first-in, first-out line of deliveries.
package struct DeliveryLine<Item: Sendable>: Sendable {
  /// One thing to deliver.
  package struct Entry: Sendable {
    /// The job it belongs to; with the job it is dropped.
    package var job: UInt64
    /// Whether a refusal (a full disk) is tried again, because the job cannot end without it.
    package var insists: Bool
    package var item: Item

    package init(job: UInt64, insists: Bool, item: Item) {
      self.job = job
      self.insists = insists
      self.item = item
    }
  }

  /// What to do now.
  package enum Next: Sendable {
    case nothing
    /// Try once, then say what came of it with `conclude`.
    case attempt(Item, GenerationKey)
    /// It is settled without being delivered: its job is over.
    case dropped(Item)
  }

  /// What follows from an attempt.
  package enum Conclusion: Sendable {
    /// Delivered or given up. A refusal is worth a line in the log.
    case settled(refusal: String?)
    /// Ask for `next` again after a pause. A refusal that was not said before is worth a line in the log.
    case again(after: Duration, refusal: String?)
  }

  private struct Current: Sendable {
    var entry: Entry
    var refusals = 0
    var said = ""
  }

  /// Refusals after which a delivery is given up, or tried again only every `retryPause`.
  ///
  /// More than one, because a coordinator that
  /// was started again knows nothing of an upload half done, and a generation may be over while the delivery is under way.
  private static var refusalLimit: Int { 3 }

  private let retryPause: Duration
  private var key: GenerationKey?
  private var waiting: [Entry] = []
  private var current: Current?
  private var isDropped = false

  /// An empty line.
  ///
  /// - Parameter retryPause: before a refused delivery that insists is tried again, from the third refusal on.
  package init(retryPause: Duration = .seconds(5)) { self.retryPause = retryPause }

  /// Whether nothing is left to deliver.
  package var isEmpty: Bool { waiting.isEmpty && current == nil }

  /// Whether what is under way is of a job that is over: it should be interrupted.
  package var isDropping: Bool { isDropped }

  /// From now on deliveries go out under this generation.
  ///
  /// - Returns: those of the job before, which are dropped.
  package mutating func enter(_ next: GenerationKey) -> [Item] {
    let dropped = key.map { $0.job != next.job } ?? false ? drop() : []
    key = next
    return dropped
  }

  /// Forgets everything: the job is over.
  ///
  /// - Returns: what was waiting. What is under way is settled by whoever attempts it.
  package mutating func drop() -> [Item] {
    key = nil
    isDropped = current != nil
    defer { waiting = [] }
    return waiting.map(\.item)
  }

  /// Appends a delivery to the line.
  package mutating func add(_ entry: Entry) { waiting.append(entry) }

  /// What to do now; not to be asked between an attempt and its conclusion.
  package mutating func next() -> Next {
    if current == nil {
      guard !waiting.isEmpty else { return .nothing }
      current = Current(entry: waiting.removeFirst())
    }
    guard let entry = current?.entry else { return .nothing }
    guard !isDropped, let key, key.job == entry.job else {
      forget()
      return .dropped(entry.item)
    }
    return .attempt(entry.item, key)
  }

  /// Takes in what came of the attempt.
  package mutating func conclude(_ outcome: DeliveryOutcome) -> Conclusion {
    guard var attempted = current else { return .settled(refusal: nil) }
    switch outcome {
    case .delivered, .failed:
      forget()
      return .settled(refusal: nil)
    case .unreachable:
      return .again(after: .milliseconds(200), refusal: nil)
    case .refused(let reason):
      attempted.refusals += 1
      let isNew = reason != attempted.said
      attempted.said = reason
      current = attempted
      guard attempted.entry.insists || attempted.refusals < Self.refusalLimit else {
        forget()
        return .settled(refusal: reason)
      }
      let pause = attempted.refusals < Self.refusalLimit ? Duration.milliseconds(300) : retryPause
      return .again(after: pause, refusal: isNew ? reason : nil)
    }
  }

  private mutating func forget() {
    current = nil
    isDropped = false
  }
}
