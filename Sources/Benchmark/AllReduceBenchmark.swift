// The time of an all-reduce between processes of this machine: `temper bench allreduce`.
//
// Every rank is a process of its own, as workers are, and reaches the others by ipc as workers on one machine do. The parent
// starts the ranks, passes everyone's endpoints around by pipes (a coordinator's part), and reads the times, which every rank
// knows of all.

/// Measures all-reduces.
public struct AllReduceBenchmark: Sendable {
  /// What is measured.
  public struct Options: Codable, Sendable, Hashable {
    /// Size of the vector in MiB of floats; 43 is ResNet-18's gradient.
    public var mebibytes = 43
    /// Ranks.
    public var workers = 2
    /// How ranks reach each other.
    public var transport = RankTransport.ipc
    /// Measured all-reduces.
    public var repetitions = 15
    /// All-reduces before that.
    public var warmUps = 3

    /// Makes the defaults.
    public init() {}
  }

  /// The result of a measurement; the names are those of the JSON object.
  public struct Result: Codable, Sendable, Hashable {
    /// Which measurement this is.
    public let benchmark: String
    /// Size of the vector in MiB.
    public let mebibytes: Int
    /// Ranks, each a process.
    public let workers: Int
    /// How ranks reach each other.
    public let transport: String
    /// Measured all-reduces.
    public let repetitions: Int
    /// Median over repetitions of the slowest rank's time.
    public let medianMilliseconds: Double
    /// Spread of that.
    public let milliseconds: Distribution
    /// Bytes of the vector over the median, in 10^9 per second.
    public let gigabytesPerSecond: Double
    /// The machine.
    public let machine: Machine
  }

  private let options: Options

  /// Prepares a measurement.
  public init(_ options: Options) { self.options = options }

  /// Measures.
  ///
  /// - Parameters:
  ///   - program: plays a rank by `AllReduceRank.run`.
  ///   - timeLimit: seconds after which the ranks are killed.
  /// - Throws: `BenchmarkFailure` when a rank ends without a result, or the error of starting a process.
  public func run(_ program: RankProgram, timeLimit: Double = 120) throws -> Result {
    let ranks = try RankProcesses(program, count: options.workers, timeLimit: timeLimit)
    let milliseconds = try ranks.read(
      [Double].self, orSay: "ended without a result, or after \(Int(timeLimit)) s")
    let distribution = Distribution(milliseconds[0])
    return Result(
      benchmark: "allreduce", mebibytes: options.mebibytes, workers: options.workers,
      transport: options.transport.rawValue,
      repetitions: milliseconds[0].count, medianMilliseconds: distribution.median, milliseconds: distribution,
      gigabytesPerSecond: Double(options.mebibytes << 20) / distribution.median / 1e6, machine: .current)
  }
}
