// temper bench allreduce: the gradient's way between processes of this machine.

public import ArgumentParser
public import Benchmark
import Foundation

struct BenchAllReduce: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "allreduce",
    abstract: "Measure the all-reduce between worker processes of this machine.",
    discussion: """
      Every rank is a process with one mesh, as a worker is. A repetition counts with the time of its slowest rank, from a \
      barrier until sums stand. 43 MiB is ResNet-18's gradient.
      """)

  @OptionGroup var size: AllReduceOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try ending {
      let result: AllReduceBenchmark.Result
      do {
        result = try AllReduceBenchmark(size.options).run(
          .bench(
            "allreduce-rank", "--size-mib", "\(size.sizeMib)", "--transport", size.transport.rawValue, "--workers",
            "\(size.workers)", "--repetitions",
            "\(size.repetitions)"))
      } catch let error as BenchmarkFailure {
        throw Failure(.bug, error.description, hint: "the rank's own message is above")
      }
      if output.json { return try printJSON(result) }
      let spread = result.milliseconds
      print(
        "\(result.mebibytes) MiB, \(result.workers) processes, \(result.transport): \(fixed(result.medianMilliseconds, 1)) ms"
          + " (quartiles \(fixed(spread.lowerQuartile, 1))-\(fixed(spread.upperQuartile, 1)), n = \(result.repetitions)),"
          + " \(fixed(result.gigabytesPerSecond, 2)) GB/s")
    }
  }
}

/// What rank and parent agree on.
struct AllReduceOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Size of the vector of floats.", valueName: "MiB"))
  var sizeMib = 43

  @Option(help: "Worker processes.")
  var workers = 2

  @Option(help: ArgumentHelp("Measured all-reduces, after three unmeasured ones.", valueName: "times"))
  var repetitions = 15

  @Option(help: "How processes reach each other: ipc, tcp (loopback, in the clear) or curve (loopback, encrypted).")
  var transport = RankTransport.ipc

  func validate() throws {
    guard (1...1024).contains(sizeMib) else { throw ValidationError("--size-mib is \(sizeMib); it takes 1...1024") }
    guard (1...8).contains(workers) else { throw ValidationError("--workers is \(workers); it takes 1...8") }
    guard (1...10_000).contains(repetitions) else {
      throw ValidationError("--repetitions is \(repetitions); it takes 1...10000")
    }
  }

  var options: AllReduceBenchmark.Options {
    var options = AllReduceBenchmark.Options()
    options.mebibytes = sizeMib
    options.workers = workers
    options.transport = transport
    options.repetitions = repetitions
    return options
  }
}

extension RankTransport: ExpressibleByArgument {}

/// A rank; started by `BenchAllReduce`.
struct BenchAllReduceRank: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "allreduce-rank", abstract: "One rank of `temper bench allreduce`.", shouldDisplay: false)

  @Option(help: "Number of the rank.")
  var rank: Int

  @OptionGroup var size: AllReduceOptions

  func run() throws { try AllReduceRank.run(size.options, rank: rank) }
}

extension RankProgram {
  /// This program again, as `temper bench COMMAND --rank RANK ARGUMENTS`.
  static func bench(_ command: String, _ arguments: String...) -> RankProgram {
    RankProgram(executable: URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()) { rank in
      ["bench", command, "--rank", "\(rank)"] + arguments
    }
  }
}
