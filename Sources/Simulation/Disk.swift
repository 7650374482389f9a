// The coordinator's directory, which outlives it: the store (the contract of RunStore, in memory) and the checkpoints, with what a
// killed process or a loss of power may leave of them.
import Coordinator
import RunStore

/// The store as the coordinator relies on it: changes of one decision are applied whole, in order, or not at all.
struct StoreModel {
  /// A change that speaks of something that is not there; RunStore throws in this case.
  struct Inconsistency: Error { var text: String }

  private(set) var jobs: [JobRecord] = []
  private(set) var generations: [JobID: GenerationRecord] = [:]
  private(set) var workers: [WorkerID: WorkerRecord] = [:]
  private(set) var alumni: [JobID: Set<String>] = [:]
  private(set) var checkpoints: [JobID: [CheckpointRecord]] = [:]
  private(set) var epochs: [JobID: Set<UInt32>] = [:]

  mutating func apply(_ changes: [StoreChange]) throws(Inconsistency) {
    for change in changes { try apply(change) }
  }

  private mutating func apply(_ change: StoreChange) throws(Inconsistency) {
    switch change {
    case .submitted(let job): jobs.append(job)
    case .dataset(let id, let name): try update(id) { $0.dataset = name }
    case .state(let id, let state, let reason):
      try update(id) {
        $0.state = state
        $0.reason = reason
      }
    case .intent(let id, let intent): try update(id) { $0.intent = intent }
    case .result(let id, let sha256, let json):
      try update(id) {
        $0.sha256 = sha256
        $0.result = json
      }
    case .worker(let worker): workers[worker.id] = worker
    case .generationBegan(let record):
      try update(record.job) { $0.generation = max($0.generation, record.number) }
      generations[record.job] = record
      for member in record.members {
        guard let worker = workers[member.worker] else { throw Inconsistency(text: "no row of \(member.worker)") }
        alumni[record.job, default: []].insert(worker.incarnation)
      }
    case .generationStarted(let id, let number): try update(id, number) { $0.started = true }
    case .generationEnded(let id, let number, let reason): try update(id, number) { $0.endReason = reason }
    case .checkpoint(let record):
      checkpoints[record.job, default: []].removeAll { $0.step == record.step }
      checkpoints[record.job, default: []].append(record)
      checkpoints[record.job]?.sort { $0.step < $1.step }
    case .checkpointRemoved(let id, let step): checkpoints[id]?.removeAll { $0.step == step }
    case .epoch(let record): epochs[record.job, default: []].insert(record.epoch)
    }
  }

  private mutating func update(_ id: JobID, _ body: (inout JobRecord) -> Void) throws(Inconsistency) {
    guard let index = jobs.firstIndex(where: { $0.id == id }) else { throw Inconsistency(text: "no row of \(id)") }
    body(&jobs[index])
  }

  private mutating func update(
    _ id: JobID, _ number: UInt64, _ body: (inout GenerationRecord) -> Void
  ) throws(Inconsistency) {
    guard var record = generations[id], record.number == number else {
      throw Inconsistency(text: "no row of generation \(number) of \(id)")
    }
    body(&record)
    generations[id] = record
  }

  func job(_ id: JobID) -> JobRecord? { jobs.first { $0.id == id } }

  /// What `RunStore.load` reads.
  var snapshot: RunStore.Snapshot {
    var snapshot = RunStore.Snapshot()
    snapshot.jobs = jobs
    var members: Set<WorkerID> = []
    for job in jobs {
      snapshot.checkpoints[job.id] = checkpoints[job.id] ?? []
      guard !job.state.isOver else { continue }
      if let generation = generations[job.id] {
        snapshot.generations[job.id] = generation
        members.formUnion(generation.members.map(\.worker))
      }
      snapshot.alumni[job.id] = alumni[job.id] ?? []
    }
    snapshot.workers = members.sorted().compactMap { workers[$0] }
    snapshot.lastWorker = workers.keys.map(\.rawValue).max() ?? 0
    return snapshot
  }
}

/// What is on the coordinator's disk.
struct Disk {
  /// One checkpoint's directory under its final name.
  struct Entry {
    var record: CheckpointRecord
    var hash: UInt64
    /// All its bytes are there and right.
    var isWhole = true
    /// It survives a loss of power.
    var isDurable = false
    /// The disk, not the program, has damaged it.
    var isRotten = false
  }

  var store = StoreModel()
  /// By ascending step.
  var checkpoints: [JobID: [Entry]] = [:]
  var isFull = false

  func entry(_ job: JobID, step: UInt64) -> Entry? { checkpoints[job]?.first { $0.record.step == step } }

  /// As CheckpointWriter.commit: a whole one of the same step stays, unless only the new one is final.
  mutating func put(_ entry: Entry) {
    let id = entry.record.job
    if let standing = self.entry(id, step: entry.record.step), standing.isWhole, standing.hash == entry.hash,
      standing.record.isFinal || !entry.record.isFinal
    {
      return
    }
    checkpoints[id, default: []].removeAll { $0.record.step == entry.record.step }
    checkpoints[id, default: []].append(entry)
    checkpoints[id]?.sort { $0.record.step < $1.record.step }
  }

  mutating func change(_ job: JobID, step: UInt64, _ body: (inout Entry) -> Void) {
    guard let index = checkpoints[job]?.firstIndex(where: { $0.record.step == step }) else { return }
    checkpoints[job]?.withElement(index, body)
  }

  /// As CheckpointStore.prune; returns the steps that were removed.
  mutating func prune(_ job: JobID, keep: Int) -> [UInt64] {
    let entries = checkpoints[job] ?? []
    let newestWhole = entries.last { $0.isWhole }?.record.step
    let old = entries.dropLast(max(1, keep)).filter { !$0.record.isFinal && $0.record.step != newestWhole }
      .map(\.record.step)
    checkpoints[job]?.removeAll { old.contains($0.record.step) }
    return old
  }

  /// As CheckpointStore.newest.
  func newest(_ job: JobID) -> (found: CheckpointRecord?, damaged: [DamagedCheckpoint]) {
    var damaged: [DamagedCheckpoint] = []
    for entry in (checkpoints[job] ?? []).reversed() {
      if entry.isWhole { return (entry.record, damaged) }
      damaged.append(DamagedCheckpoint(step: entry.record.step, problem: "hashes differ"))
    }
    return (nil, damaged)
  }

  /// From now on all that has a name survives a loss of power.
  mutating func synchronize() {
    for (id, entries) in checkpoints {
      for entry in entries where !entry.isDurable { change(id, step: entry.record.step) { $0.isDurable = true } }
    }
  }

  /// What has a name but is not on the platter yet is gone or, where its files were not synced first, torn.
  mutating func losePower(_ dice: inout Dice, torn: Bool) {
    for id in checkpoints.keys.sorted() {
      let lost = (checkpoints[id] ?? []).filter { !$0.isDurable && dice.chance(perMille: 500) }.map(\.record.step)
      if torn {
        for step in lost { change(id, step: step) { $0.isWhole = false } }
      } else {
        checkpoints[id]?.removeAll { lost.contains($0.record.step) }
      }
      for entry in checkpoints[id] ?? [] { change(id, step: entry.record.step) { $0.isDurable = true } }
    }
  }
}

extension Array {
  mutating func withElement(_ index: Int, _ body: (inout Element) -> Void) { body(&self[index]) }
}
