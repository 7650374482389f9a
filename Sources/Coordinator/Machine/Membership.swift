// One generation of one job, from the members' answers to the last step. Pure: JobBoard tells it what came in and asks
// what to do next.
//
//   gathering       every member says what state it holds (MemberPosition)
//   checking        members may not have the newest state: the checkpoints are read through and their hashes compared
//   synchronizing   members at another step fetch the state; each says that it is ready (MemberReady)
//   training        all steps, evaluations and checkpoints until the generation ends
//
// A hung member is told from those that wait for it by what follows: it does not answer the next generation, or its peers
// report it lost again. So a member answers GenerationBegin as soon as its links stand, without waiting for data.
package import RunStore

/// The state of one generation.
package struct Membership: Sendable {
  package enum Phase: Sendable, Hashable {
    case gathering
    case checking
    case synchronizing(step: UInt64)
    case training
  }

  enum Position: Sendable, Hashable {
    case empty
    case state(step: UInt64)

    var step: UInt64? { if case .state(let step) = self { step } else { nil } }
  }

  package struct Member: Sendable {
    package let worker: WorkerID
    package let shards: Range<Int>
    /// What it holds, nil before it has answered.
    var position: Position?
    var isReady = false
    /// What it last reported, and since when that has not changed.
    var committedStep: UInt64 = 0
    var activity = ""
    var unchangedSince: Instant
    var hasStopped = false

    /// Whether it reports steps or an evaluation, whose standstill is found by patience.
    var isWorking: Bool { activity.hasPrefix("training") || activity.hasPrefix("evaluating") || isWaiting }
    /// Whether it has done its part of an evaluation.
    var isWaiting: Bool { activity.hasPrefix("waiting") }
  }

  /// An end of the generation that its members were told of ahead.
  struct Boundary: Sendable {
    /// The last step to be committed; members that are past it stop at once.
    var step: UInt64
    /// Whether rank 0 stores a checkpoint before it stops.
    var saves: Bool
    var cause: String
    /// Members that stay, from rank 0; the others are set free.
    var keep: Int
    var firstStopped: Instant?
  }

  package let stamp: Stamp
  /// The checkpoint that the members were told of.
  let announced: CheckpointRecord?
  package internal(set) var members: [Member]
  package private(set) var phase: Phase
  package private(set) var phaseSince: Instant
  /// Whether a step has been committed since it started.
  private(set) var hasStepped = false
  /// nil while no end is announced.
  var boundary: Boundary?

  init(_ record: GenerationRecord, announced: CheckpointRecord?, phase: Phase = .gathering, at now: Instant) {
    stamp = Stamp(job: record.job, generation: record.number)
    self.announced = announced
    self.phase = phase
    phaseSince = now
    members = record.members.map { Member(worker: $0.worker, shards: $0.shards, unchangedSince: now) }
  }

  func rank(of worker: WorkerID) -> Int? { members.firstIndex { $0.worker == worker } }

  /// Members that have not done what the phase asks for.
  var waitingFor: [WorkerID] {
    switch phase {
    case .gathering: members.filter { $0.position == nil }.map(\.worker)
    case .synchronizing: members.filter { !$0.isReady }.map(\.worker)
    case .checking, .training: []
    }
  }

  mutating func enter(_ phase: Phase, at now: Instant) {
    self.phase = phase
    phaseSince = now
    for rank in members.indices { members[rank].unchangedSince = now }
  }

  /// Takes a member's answer; true when it was the last one missing.
  mutating func answered(_ rank: Int, _ position: Position) -> Bool {
    guard phase == .gathering else { return false }
    members[rank].position = position
    return waitingFor.isEmpty
  }

  /// Notes that a member stands at the step to start from; true when it was the last one missing.
  mutating func ready(_ rank: Int, step: UInt64) -> Bool {
    guard phase == .synchronizing(step: step) else { return false }
    members[rank].isReady = true
    members[rank].committedStep = step
    return waitingFor.isEmpty
  }

  /// Where everybody starts: the newest state among the members, unless the checkpoint is newer than all of them.
  func newestState(checkpoint: CheckpointRecord?) -> (step: UInt64, origin: StateOrigin) {
    let held = members.enumerated().compactMap { rank, member in member.position?.step.map { (rank: rank, step: $0) } }
    let newest = held.max { ($0.step, -$0.rank) < ($1.step, -$1.rank) }
    if let newest, newest.step >= checkpoint?.step ?? 0 { return (newest.step, .peer(rank: newest.rank)) }
    if let checkpoint { return (checkpoint.step, .checkpoint) }
    return (0, .initialize)
  }

  /// Whether a report says what the member has not said before.
  func isNews(_ rank: Int, step: UInt64, activity: String) -> Bool {
    step != members[rank].committedStep || activity != members[rank].activity
  }

  /// Notes what a member reports; true when a step was committed that no member had reported before.
  mutating func note(_ rank: Int, step: UInt64, activity: String, at now: Instant) -> Bool {
    guard isNews(rank, step: step, activity: activity) else { return false }
    let isNew = phase == .training && step > committedStep
    members[rank].committedStep = step
    members[rank].activity = activity
    members[rank].unchangedSince = now
    hasStepped = hasStepped || isNew
    return isNew
  }

  /// Notes that a member has stopped at a step; true when it was the last one missing.
  mutating func stopped(_ rank: Int, step: UInt64, at now: Instant) -> Bool {
    members[rank].committedStep = max(step, members[rank].committedStep)
    members[rank].hasStopped = true
    // The coordinator that announced it may have been another process.
    var boundary =
      boundary
      ?? Boundary(step: step, saves: false, cause: "its end was announced earlier", keep: members.count)
    boundary.firstStopped = boundary.firstStopped ?? now
    self.boundary = boundary
    return members.allSatisfy(\.hasStopped)
  }

  /// A member moved data: progress that its step does not show.
  mutating func transferred(_ rank: Int, at now: Instant) { members[rank].unchangedSince = now }

  /// The newest step that any member has reported.
  var committedStep: UInt64 { members.map(\.committedStep).max() ?? 0 }

  /// Whether a member has gone without progress for longer than `hang`, the least that patience allows.
  func isStill(for hang: Duration, at now: Instant) -> Bool {
    members.contains { now - $0.unchangedSince > hang }
  }

  /// How long the slowest member has gone without progress, if that is longer than patience allows.
  ///
  /// - Parameter hang: the patience with one training step.
  func stalled(hang: Duration, at now: Instant) -> Duration? {
    // Who waits is late only when all wait, for nobody.
    let newest = members.map(\.unchangedSince).max() ?? now
    return members.compactMap { member in
      let still = now - (member.isWaiting ? newest : member.unchangedSince)
      return patience(with: member, hang: hang).flatMap { still > $0 ? still : nil }
    }.max()
  }

  /// nil for whoever waits for others or for a disk.
  private func patience(with member: Member, hang: Duration) -> Duration? {
    switch phase {
    case .gathering: return member.position == nil ? hang : nil
    case .checking: return nil
    case .synchronizing: return member.isReady ? nil : max(hang, .seconds(60))
    case .training:
      // An evaluation counts its operations, so it gets the patience of a step.
      guard member.isWorking, !member.isWaiting || members.allSatisfy(\.isWaiting) else { return nil }
      // The first step also packs weights, warms caches and has no median yet.
      return hasStepped ? hang : max(hang, .seconds(60))
    }
  }
}
