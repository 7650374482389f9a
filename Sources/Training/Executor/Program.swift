// A model lowered to a list of stages with planned memory: what an executor runs.
// A stage is one parallel region, a closure over tensors made once; running a program is a loop over stages.

/// Into how many parts a stage is cut; threads take one part after the other.
enum StageSplit {
  /// Too little work to be worth waking threads: the caller runs it alone as part 0 of 1.
  case serial
  /// Several parts per thread, so that a thread that was held up gets fewer of them; one part with a single thread.
  case perThread(Int)
  /// A number of parts that does not depend on the threads.
  case fixed(Int)
}

/// One parallel region of a program.
struct Stage {
  /// What it does, "layer1.0.conv1 forward".
  let label: String
  /// What its time counts as.
  let part: StepPart
  let split: StageSplit
  /// Does one part of the work.
  let work: (TaskShare) -> Void
  /// Whether its threads note the time of several parts.
  var notesParts = false
}

/// Stages over planned memory.
struct Program {
  let stages: [Stage]
  let arena: Arena
  /// Where stages note their time.
  let profileSlot: ProfileSlot
  /// With whom stages are shared.
  let sharing: ProgramSharing?

  /// Plans the memory of everything that was built and flushed.
  ///
  /// - Throws: what the making of shared memory throws.
  init(_ builder: ProgramBuilder) throws {
    builder.shrinkTensors()
    stages = builder.stages
    profileSlot = builder.profileSlot
    sharing = builder.sharing
    arena = try Arena(builder.tensors, sharing: builder.sharing)
  }

  /// Runs one stage.
  func run(stage index: Int, on pool: ThreadPool) {
    switch stages[index].split {
    case .serial: stages[index].work(.whole)
    case .perThread(let parts):
      pool.run(parts: pool.threadCount == 1 ? 1 : parts * pool.threadCount, stages[index].work)
    case .fixed(let parts): pool.run(parts: parts, stages[index].work)
    }
    guard let profile = profileSlot.profile else { return }
    if stages[index].notesParts {
      profile.markNoted(otherwise: stages[index].part)
    } else {
      profile.mark(stages[index].part)
    }
  }

  /// Runs a range of stages.
  func run(_ range: Range<Int>, on pool: ThreadPool) {
    for index in range { run(stage: index, on: pool) }
  }
}
