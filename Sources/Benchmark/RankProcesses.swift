// The ranks of a benchmark as child processes that speak lines of JSON.

public import Foundation

/// Why a benchmark gave no result.
public struct BenchmarkFailure: Error, CustomStringConvertible {
  /// What happened.
  public let description: String
}

/// How the ranks of a benchmark are started: processes that call `AllReduceRank.run` or `StepRank.run`.
public struct RankProgram: Sendable {
  let executable: URL
  let arguments: @Sendable (_ rank: Int) -> [String]

  /// A program and its arguments for each rank.
  public init(executable: URL, arguments: @escaping @Sendable (_ rank: Int) -> [String]) {
    self.executable = executable
    self.arguments = arguments
  }
}

/// Child processes, one per rank; they end with this object, or after a time limit.
final class RankProcesses {
  private let processes: [RankProcess]
  private let limit: DispatchWorkItem

  /// Starts the ranks and makes them known to each other.
  ///
  /// - Throws: `BenchmarkFailure` when one does not start.
  init(_ program: RankProgram, count: Int, timeLimit: Double) throws {
    let processes = try (0..<count).map { rank in
      try RankProcess(executable: program.executable, arguments: program.arguments(rank))
    }
    self.processes = processes
    limit = DispatchWorkItem { [identifiers = processes.map(\.identifier)] in
      for identifier in identifiers { kill(identifier, SIGKILL) }
    }
    DispatchQueue.global().asyncAfter(deadline: .now() + timeLimit, execute: limit)
    let endpoints = try read([RankLink.Endpoint].self, orSay: "did not start")
    for process in processes { try process.write(endpoints) }
  }

  deinit {
    limit.cancel()
    for process in processes { process.closeInput() }
    for process in processes { process.end() }
  }

  /// The next line of every rank.
  ///
  /// - Throws: `BenchmarkFailure` with the rank and `message` when one ended before.
  func read<Value: Decodable>(_ type: Value.Type, orSay message: String) throws -> [Value] {
    try processes.enumerated().map { rank, process in
      guard let value = try process.read(type) else {
        throw BenchmarkFailure(description: "rank \(rank) of \(processes.count) \(message)")
      }
      return value
    }
  }
}

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

  func read<Value: Decodable>(_ type: Value.Type) throws -> Value? {
    while true {
      if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
        let line = unread[unread.startIndex..<end]
        unread = Data(unread[unread.index(after: end)...])
        return try JSONDecoder().decode(type, from: line)
      }
      let bytes = output.fileHandleForReading.availableData
      guard !bytes.isEmpty else { return nil }
      unread.append(bytes)
    }
  }

  /// Ends a rank that waits for it.
  func closeInput() { try? input.fileHandleForWriting.close() }

  /// Gives the rank two seconds to end by itself.
  func end() {
    let deadline = Date(timeIntervalSinceNow: 2)
    while process.isRunning, Date() < deadline { Thread.sleep(forTimeInterval: 0.01) }
    if process.isRunning { process.terminate() }
    process.waitUntilExit()
  }
}
