// The time of a whole training step of ResNet-18, by precision and by part: `temper bench step`.
//
// A step is what a real job's is, in the same code (Training/Loop/Trainer.swift): wait for the batch, load weights, forward,
// backward, reduction, update. The precisions take turns, round by round, so that a machine that slows
// down slows all of them.

/// Measures training steps.
public struct StepBenchmark: Sendable {
  /// What is measured.
  public struct Options: Sendable, Hashable {
    /// Height and width of an image in pixels.
    public var size = 64
    /// Samples of the global batch.
    public var batch = 64
    /// Virtual shards of the batch.
    public var virtualShards = 8
    /// Members; several are processes of their own, linked as workers of one machine are.
    public var workers = 1
    /// How members reach each other.
    public var transport = RankTransport.ipc
    /// Threads of each member.
    public var threads = 1
    /// Measured steps per precision.
    public var repetitions = 15
    /// Steps per precision before that.
    public var warmUpSteps = 2
    /// In which order the precisions take turns.
    public var precisions = Precision.allCases

    /// Makes the defaults.
    public init() {}
  }

  /// Arithmetic of a step, named as in jobs and reports.
  public enum Precision: String, Codable, Sendable, Hashable, CaseIterable {
    case fp32, fp16, qat
  }

  private let options: Options

  /// Prepares a measurement.
  public init(_ options: Options) { self.options = options }

  /// Measures one member in this process.
  ///
  /// - Throws: `TrainingError` or `GraphError` when images, batch and shards do not fit the model.
  public func run() throws -> Result {
    precondition(options.workers == 1, "\(options.workers) members in one process")
    return Result(options, try StepMeasurement.make(options.precisions.map { try BenchmarkJob($0, options) }, options))
  }

  /// Measures several members, each a process; times are those of rank 0.
  ///
  /// - Parameters:
  ///   - program: plays a rank by `StepRank.run`.
  ///   - timeLimit: seconds after which the ranks are killed.
  /// - Throws: `BenchmarkFailure` when a rank ends without a result.
  public func run(_ program: RankProgram, timeLimit: Double = 600) throws -> Result {
    let ranks = try RankProcesses(program, count: options.workers, timeLimit: timeLimit)
    let measurements = try ranks.read(
      [StepMeasurement].self, orSay: "ended without a result, or after \(Int(timeLimit)) s")
    return Result(options, measurements[0])
  }
}

/// One rank of a measurement with several members.
public enum StepRank {
  /// Plays a rank: finds the others, makes steps with them, tells what it measured.
  ///
  /// - Throws: `CommunicationError` when a rank is lost; `BenchmarkFailure` without a parent; as `StepBenchmark.run`.
  public static func run(_ options: StepBenchmark.Options, rank: Int) throws {
    // A mesh each, because precisions reduce different vectors.
    let link = try RankLink(
      rank: rank, meshCount: options.precisions.count, transport: options.transport)
    let jobs = try zip(options.precisions, link.meshes).map { precision, mesh in
      try BenchmarkJob(precision, options, rank: rank, mesh: mesh)
    }
    try link.tell(try StepMeasurement.make(jobs, options))
    link.waitForEnd()
  }
}

extension Duration {
  /// The duration in milliseconds.
  var milliseconds: Double {
    Double(components.seconds) * 1e3 + Double(components.attoseconds) * 1e-15
  }
}
