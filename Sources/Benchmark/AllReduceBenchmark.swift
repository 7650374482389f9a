// The time of an all-reduce between processes of this machine: `temper bench allreduce`.
//
// Every rank is a process of its own, as workers are, and reaches the others by ipc as workers on one machine do. The parent
// starts the ranks, passes everyone's endpoints around by pipes (a coordinator's part), and reads the times, which every rank knows of all.

public import Foundation

/// Measures all-reduces.
public struct AllReduceBenchmark: Sendable {
  /// What is measured.
  public struct Options: Codable, Sendable, Hashable {
    /// Size of the vector in MiB of floats; 43 is ResNet-18's gradient.
    public var mebibytes = 43
    /// Ranks.
    public var workers = 2
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

  /// Why ranks gave no result.
  public struct Failure: Error, CustomStringConvertible {
    /// What happened.
    public let description: String
  }

  private let options: Options

  /// Prepares a measurement.
  public init(_ options: Options) { self.options = options }

  /// Measures.
  ///
  /// - Parameters:
  ///   - executable: a program that calls `AllReduceRank.run` with its standard input and output.
  ///   - arguments: for that program, for a rank.
  ///   - timeLimit: seconds after which the ranks are killed.
  /// - Throws: `Failure` when a rank ends without a result, or the error of starting a process.
  public func run(executable: URL, timeLimit: Double = 120, arguments: (_ rank: Int) -> [String]) throws -> Result {
    let processes = try (0..<options.workers).map { rank in
      try RankProcess(executable: executable, arguments: arguments(rank))
    }
    let limit = DispatchWorkItem { [identifiers = processes.map(\.identifier)] in
      for identifier in identifiers { kill(identifier, SIGKILL) }
    }
    DispatchQueue.global().asyncAfter(deadline: .now() + timeLimit, execute: limit)
    defer {
      limit.cancel()
      for process in processes { process.end() }
    }
    let endpoints = try processes.enumerated().map { rank, process in
      try process.read(AllReduceRank.Endpoint.self, orSay: "rank \(rank) of \(options.workers) did not start")
    }
    for process in processes { try process.write(endpoints) }
    let milliseconds = try processes.enumerated().map { rank, process in
      try process.read(
        [Double].self, orSay: "rank \(rank) of \(options.workers) ended without a result, or after \(Int(timeLimit)) s")
    }
    let distribution = Distribution(milliseconds[0])
    return Result(
      benchmark: "allreduce", mebibytes: options.mebibytes, workers: options.workers, transport: "ipc",
      repetitions: milliseconds[0].count, medianMilliseconds: distribution.median, milliseconds: distribution,
      gigabytesPerSecond: Double(options.mebibytes << 20) / distribution.median / 1e6, machine: .current)
  }
}

/// A rank as a child process that speaks lines of JSON.
private final class RankProcess {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var unread = Data()

  var identifier: Int32 { process.processIdentifier }

  init(executable: URL, arguments: [String]) throws {
    process.executableURL = executable
    process.arguments = arguments
    process.standardInput = input
    process.standardOutput = output
    try process.run()
  }

  func write(_ value: some Encodable) throws {
    var line = try JSONEncoder().encode(value)
    line.append(UInt8(ascii: "\n"))
    try input.fileHandleForWriting.write(contentsOf: line)
  }

  func read<Value: Decodable>(_ type: Value.Type, orSay message: String) throws -> Value {
    while true {
      if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
        let line = unread[unread.startIndex..<end]
        unread = Data(unread[unread.index(after: end)...])
        return try JSONDecoder().decode(type, from: line)
      }
      let bytes = output.fileHandleForReading.availableData
      guard !bytes.isEmpty else { throw AllReduceBenchmark.Failure(description: message) }
      unread.append(bytes)
    }
  }

  /// Closes its input, which ends a rank that waits, and gives others two seconds.
  func end() {
    try? input.fileHandleForWriting.close()
    let deadline = Date(timeIntervalSinceNow: 2)
    while process.isRunning, Date() < deadline { Thread.sleep(forTimeInterval: 0.01) }
    if process.isRunning { process.terminate() }
    process.waitUntilExit()
  }
}
