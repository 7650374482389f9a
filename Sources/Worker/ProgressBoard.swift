// What this worker is doing, written by the threads that do it, read for heartbeats and the closing line.
import Synchronization

/// What a worker does, as heartbeats say it.
enum Activity: UInt8, Sendable {
  case idle, loadingData, synchronizing, training, evaluating, waiting, saving

  /// In the words of control.proto.
  var name: String {
    switch self {
    case .idle: "idle"
    case .loadingData: "loading data"
    case .synchronizing: "synchronizing"
    case .training: "training"
    case .evaluating: "evaluating"
    case .waiting: "waiting"
    case .saving: "saving"
    }
  }
}

/// Counters that any thread may read at any time.
final class ProgressBoard: Sendable {
  private let step = Atomic<UInt64>(0)
  private let doing = Atomic<UInt8>(Activity.idle.rawValue)
  private let steps = Atomic<UInt64>(0)
  private let images = Atomic<UInt64>(0)
  private let nanoseconds = Atomic<UInt64>(0)
  private let waitedNanoseconds = Atomic<UInt64>(0)
  private let shardTime = Atomic<UInt64>(0)
  private let operations = Atomic<UInt64>(0)

  /// Steps committed to the state held; 0 without a state.
  var committedStep: UInt64 {
    get { step.load(ordering: .relaxed) }
    set { step.store(newValue, ordering: .relaxed) }
  }

  /// What the training thread does now.
  var activity: Activity {
    get { Activity(rawValue: doing.load(ordering: .relaxed)) ?? .idle }
    set { doing.store(newValue.rawValue, ordering: .relaxed) }
  }

  /// Median time of this member's own computation per virtual shard and step; 0 while it is not known.
  var shardMicroseconds: UInt64 {
    get { shardTime.load(ordering: .relaxed) }
    set { shardTime.store(newValue, ordering: .relaxed) }
  }

  /// One more operation of an evaluation is done.
  func countOperation() {
    activity = .evaluating
    operations.add(1, ordering: .relaxed)
  }

  /// An activity in the words of heartbeats, which change while an evaluation gets somewhere.
  func words(for activity: Activity) -> String {
    guard activity == .evaluating else { return activity.name }
    return "evaluating, \(operations.load(ordering: .relaxed)) operations"
  }

  /// Steps that this process took part in, and the images that it computed for them.
  var total: (steps: UInt64, images: UInt64) {
    (steps.load(ordering: .relaxed), images.load(ordering: .relaxed))
  }

  /// Time of all steps, and the part of it that was spent waiting for gradients of others.
  var stepTime: (total: Duration, waited: Duration) {
    (
      .nanoseconds(Int64(clamping: nanoseconds.load(ordering: .relaxed))),
      .nanoseconds(Int64(clamping: waitedNanoseconds.load(ordering: .relaxed)))
    )
  }

  /// Adds the time of one step.
  func count(time: Duration, waited: Duration) {
    nanoseconds.add(UInt64(max(0, time / .nanoseconds(1))), ordering: .relaxed)
    waitedNanoseconds.add(UInt64(max(0, waited / .nanoseconds(1))), ordering: .relaxed)
  }

  /// Counts a committed step with this member's share of its images.
  func count(step: UInt64, images count: Int) {
    committedStep = step
    steps.add(1, ordering: .relaxed)
    images.add(UInt64(count), ordering: .relaxed)
  }
}
