// A model lowered to a list of stages with planned memory: what an executor runs.
// A stage is one parallel region, a closure over tensors made once; running a program is a loop over stages.

/// One parallel region of a program.
struct Stage {
  /// What it does, "layer1.0.conv1 forward".
  let label: String
  /// What its time counts as.
  let part: StepPart
  /// Does share `part` of `parts` of the work.
  let work: (_ part: Int, _ parts: Int) -> Void
  /// Too little work to be worth waking threads: the caller runs it alone as part 0 of 1.
  let isSerial: Bool
  /// Whether its threads note the time of several parts.
  var notesParts = false
}

/// Stages over planned memory.
struct Program {
  let stages: [Stage]
  let arena: Arena
  /// Where stages note their time.
  let profileSlot: ProfileSlot

  /// Plans the memory of everything that was built and flushed.
  init(_ builder: ProgramBuilder) {
    builder.shrinkTensors()
    stages = builder.stages
    profileSlot = builder.profileSlot
    arena = Arena(builder.tensors)
  }

  /// Runs one stage.
  func run(stage index: Int, on pool: ThreadPool) {
    if stages[index].isSerial {
      stages[index].work(0, 1)
    } else {
      pool.run(stages[index].work)
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
