// Collects the stages of a program and the tensors they name.
//
// Work that touches one shard at a time (BatchNorm, everything elementwise) comes as shardwise steps. Consecutive ones become one
// stage in which a thread takes a shard through all steps while its data are in the second-level cache, instead of passing over
// the whole batch for each. Only convolutions, which want the whole batch, and poolings stand between.

/// The shards a shardwise step works on, and which share of that work: elements of shard s are [s * perShard, (s + 1) * perShard).
struct ShardShare {
  let shards: Range<Int>
  let part: Int
  let parts: Int
  /// The thread that works, where each takes whole shards.
  var thread = 0

  /// First element of the shards.
  func start(_ perShard: Int) -> Int { shards.lowerBound * perShard }
  /// Elements of the shards.
  func count(_ perShard: Int) -> Int { shards.count * perShard }
}

/// Collects stages and the tensors they name.
struct ProgramBuilder {
  private struct ShardStep {
    let label: String
    let part: StepPart
    let work: (ShardShare) -> Void
  }

  /// What the time of the stages emitted from now on counts as.
  var part = StepPart.other
  /// Where the stages note their time.
  let profileSlot = ProfileSlot()
  private(set) var stages: [Stage] = []
  private(set) var tensors: [Tensor] = []
  /// Elements of the sum vector, and the stage after which they are final.
  private(set) var written: [(range: Range<Int>, stage: Int)] = []
  /// With whom `emitShared` shares; nil with nobody.
  let sharing: ProgramSharing?
  private let shardCount: Int
  private let threadCount: Int
  /// Stages in which each thread takes whole shards, and the tensors they name.
  private var shardStages: [(stage: Int, tensors: [Tensor])] = []
  private var pending: [ShardStep] = []
  private var pendingTensors: [Tensor] = []
  private var deferred:
    [(label: String, part: StepPart, tensors: [Tensor], completing: [Range<Int>], work: () -> Void)] = []

  /// Starts a program for a batch of shards; a program without shards has one.
  init(shardCount: Int = 1, threadCount: Int = 1, sharing: ProgramSharing? = nil) {
    self.sharing = sharing
    self.shardCount = shardCount
    self.threadCount = threadCount
  }

  /// Whether threads take whole shards; else every shardwise step is a stage that all threads share.
  private var threadsTakeShards: Bool { shardCount >= threadCount }
  /// Into how many parts a shard's work is cut.
  var partsPerShard: Int { threadsTakeShards ? 1 : threadCount }

  /// A new tensor of `count` elements of a type.
  mutating func tensor<Element: BitwiseCopyable>(
    _ label: String, _ type: Element.Type, count: Int, lifetime: Tensor.Lifetime = .transient
  ) -> Tensor {
    let tensor = Tensor(label, byteCount: count * MemoryLayout<Element>.stride, lifetime: lifetime)
    tensors.append(tensor)
    return tensor
  }

  /// A new tensor of floats.
  mutating func floats(_ label: String, count: Int, lifetime: Tensor.Lifetime = .transient) -> Tensor {
    tensor(label, Float.self, count: count, lifetime: lifetime)
  }

  /// A new tensor of floats of all shards; memory for one shard per thread where one shardwise stage alone needs it.
  mutating func shardFloats(_ label: String, perShard: Int, lifetime: Tensor.Lifetime = .transient) -> Tensor {
    let byteCount = perShard * MemoryLayout<Float>.stride
    let tensor = Tensor(
      label, byteCount: shardCount * byteCount, shardByteCount: byteCount, lifetime: lifetime)
    tensors.append(tensor)
    return tensor
  }

  /// Appends a stage that runs in parts on all threads.
  ///
  /// - Parameters:
  ///   - using: every transient tensor that `work` reads or writes; this decides how long its memory is its own.
  ///   - completing: elements of the sum vector that are final afterwards.
  ///   - partsPerThread: into how many parts the work is cut for each thread.
  mutating func emit(
    _ label: String, using: [Tensor], completing: [Range<Int>] = [], partsPerThread: Int = 4,
    _ work: @escaping (_ part: Int, _ parts: Int) -> Void
  ) {
    flush()
    let stage = Stage(label: label, part: part, split: .perThread(partsPerThread), work: { work($0.part, $0.parts) })
    append(stage, using, completing)
  }

  /// `emit` for work that wants floats of its own on every thread.
  mutating func emit(
    _ label: String, using: [Tensor], completing: [Range<Int>] = [], partsPerThread: Int = 4,
    scratchPerThread count: Int,
    _ work: @escaping (_ scratch: UnsafeMutablePointer<Float>, _ part: Int, _ parts: Int) -> Void
  ) {
    flush()
    let scratch = floats("\(label) scratch", count: max(1, threadCount * count))
    let stage = Stage(
      label: label, part: part, split: .perThread(partsPerThread),
      work: { work(scratch.floats + $0.thread * count, $0.part, $0.parts) })
    append(stage, using + [scratch], completing)
  }

  /// `emit` for work of which each member that shares it does a part, between two meetings, on shared tensors.
  mutating func emitShared(
    _ label: String, using: [Tensor], _ work: @escaping (_ part: Int, _ parts: Int) -> Void
  ) {
    flush()
    let sharing = sharing
    let stage = Stage(
      label: label, part: part, split: .perThread(4),
      work: { share in
        let share = sharing?.part(share) ?? share
        work(share.part, share.parts)
      })
    append(stage, using, [])
  }

  /// Appends the end of shared work: what every member has done is there for all.
  mutating func emitMeeting(_ label: String) {
    guard let sharing else { return }
    let part = part
    self.part = .communication
    emitSerial(label, using: []) { sharing.meet() }
    self.part = part
  }

  /// What lives as long as the stages that name it, or is shared where they are.
  var sharedOrTransient: Tensor.Lifetime { sharing == nil ? .transient : .shared }

  /// Appends a stage that the caller runs alone.
  mutating func emitSerial(_ label: String, using: [Tensor], _ work: @escaping () -> Void) {
    flush()
    append(Stage(label: label, part: part, split: .serial, work: { _ in work() }), using, [])
  }

  /// Appends work that needs only the shards it is given, and of other tensors only what earlier shardwise steps made of them.
  mutating func emitShardwise(_ label: String, using: [Tensor], _ work: @escaping (ShardShare) -> Void) {
    pending.append(ShardStep(label: label, part: part, work: work))
    pendingTensors += using
  }

  /// Appends a stage that the caller runs alone, behind the shardwise steps that are being collected.
  mutating func emitSerialLater(
    _ label: String, using: [Tensor], completing: [Range<Int>], _ work: @escaping () -> Void
  ) {
    deferred.append((label, part, using, completing, work))
  }

  /// Makes stages of what is collected; call it where a range of stages ends.
  mutating func flush() {
    let (steps, shardCount, slot) = (pending, shardCount, profileSlot)
    if steps.isEmpty {
      // Nothing to run before what is deferred.
    } else if threadsTakeShards {
      let label = steps.map(\.label).joined(separator: ", ")
      let work = { (share: TaskShare) in
        let profile = slot.profile
        profile?.begin(thread: share.thread)
        for step in steps {
          step.work(ShardShare(shards: share.part..<share.part + 1, part: 0, parts: 1, thread: share.thread))
          profile?.note(step.part, thread: share.thread)
        }
      }
      shardStages.append((stages.count, pendingTensors))
      append(
        Stage(label: label, part: steps[0].part, split: .fixed(shardCount), work: work, notesParts: true),
        pendingTensors, [])
    } else {
      for step in steps {
        let work = { (share: TaskShare) in
          step.work(ShardShare(shards: 0..<shardCount, part: share.part, parts: share.parts))
        }
        append(
          Stage(label: step.label, part: step.part, split: .fixed(threadCount), work: work), pendingTensors, [])
      }
    }
    for stage in deferred {
      let work = stage.work
      append(
        Stage(label: stage.label, part: stage.part, split: .serial, work: { _ in work() }), stage.tensors,
        stage.completing)
    }
    (pending, pendingTensors, deferred) = ([], [], [])
  }

  /// Gives tensors their final size, once every stage is there.
  func shrinkTensors() {
    for (stage, tensors) in shardStages {
      for tensor in tensors { tensor.shrink(ifOnlyIn: stage, threadCount: threadCount) }
    }
  }

  private mutating func append(_ stage: Stage, _ using: [Tensor], _ completing: [Range<Int>]) {
    for tensor in using { tensor.touch(stage: stages.count) }
    for range in completing { written.append((range, stages.count)) }
    stages.append(stage)
  }
}
