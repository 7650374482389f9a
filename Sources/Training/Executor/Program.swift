// A model lowered to a list of stages with planned memory: what an executor runs.
// A stage is one parallel region, a closure over tensors made once; running a program is a loop over stages.

/// One parallel region of a program.
struct Stage {
  /// What it does, "layer1.0.conv1 forward".
  let label: String
  /// Does share `part` of `parts` of the work.
  let work: (_ part: Int, _ parts: Int) -> Void
  /// Too little work to be worth waking threads: the caller runs it alone as part 0 of 1.
  let isSerial: Bool
}

/// Collects stages and the tensors they name.
struct ProgramBuilder {
  private(set) var stages: [Stage] = []
  private(set) var tensors: [Tensor] = []

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

  /// Appends a stage that runs in parts on all threads.
  ///
  /// - Parameter using: every transient tensor that `work` reads or writes; this decides how long its memory is its own.
  mutating func emit(_ label: String, using: [Tensor], _ work: @escaping (_ part: Int, _ parts: Int) -> Void) {
    append(Stage(label: label, work: work, isSerial: false), using)
  }

  /// Appends a stage that the caller runs alone.
  mutating func emitSerial(_ label: String, using: [Tensor], _ work: @escaping () -> Void) {
    append(Stage(label: label, work: { _, _ in work() }, isSerial: true), using)
  }

  private mutating func append(_ stage: Stage, _ using: [Tensor]) {
    for tensor in using { tensor.touch(stage: stages.count) }
    stages.append(stage)
  }
}

/// Stages over planned memory.
struct Program {
  let stages: [Stage]
  let arena: Arena

  /// Plans the memory of everything that was built.
  init(_ builder: ProgramBuilder) {
    stages = builder.stages
    arena = Arena(builder.tensors)
  }

  /// Runs one stage.
  func run(stage index: Int, on pool: ThreadPool) {
    if stages[index].isSerial {
      stages[index].work(0, 1)
    } else {
      pool.run(stages[index].work)
    }
  }

  /// Runs a range of stages.
  func run(_ range: Range<Int>, on pool: ThreadPool) {
    for index in range { run(stage: index, on: pool) }
  }
}
