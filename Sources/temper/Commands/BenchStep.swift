// temper bench step: the time of a training step of ResNet-18 by precision and part.

import ArgumentParser
import Benchmark
import Training

struct BenchStep: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step",
    abstract: "Measure the training step of ResNet-18 (torchvision's, full width, 3 channels, 5 classes).",
    discussion: """
      Workers make whole steps of a real job on noise: weights, forward, backward, reduction, update. Precisions take \
      turns. Parts are shares of all measured steps times the median, so they add up to it. Activation memory is what \
      activations, their gradients and scratch take at the peak of a step; saved is what waits for the backward pass.
      """)

  @Option(help: ArgumentHelp("Height and width of an image.", valueName: "pixels"))
  var size = 64

  @Option(help: ArgumentHelp("Images per step; a multiple of 8 virtual shards.", valueName: "images"))
  var batch = 64

  @Option(help: "Threads of each worker.")
  var threads = 1

  @Option(help: "Workers; several are processes that share the batch, linked by ipc. Times are those of the first.")
  var workers = 1

  @Option(help: ArgumentHelp("Measured steps per precision, after two unmeasured ones.", valueName: "steps"))
  var repetitions: Int?

  @Option(help: ArgumentHelp("Precisions, separated by commas, in the order of their turns.", valueName: "list"))
  var precisions = "fp32,fp16,qat"

  @Option(help: "How workers reach each other: ipc, tcp (loopback, in the clear) or curve (loopback, encrypted).")
  var transport = RankTransport.ipc

  @Flag(help: "Measure a grid instead: 32, 64, 128, 224 pixels, 8 to 256 images, 3 steps each. Takes some minutes.")
  var sweep = false

  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard (32...1024).contains(size) else { throw ValidationError("--size is \(size); it takes 32...1024 pixels") }
    guard (8...4096).contains(batch), batch.isMultiple(of: 8) else {
      throw ValidationError("--batch is \(batch); it takes multiples of 8 from 8 to 4096")
    }
    guard (1...256).contains(threads) else { throw ValidationError("--threads is \(threads); it takes 1...256") }
    guard [1, 2, 4, 8].contains(workers) else {
      throw ValidationError("--workers is \(workers); it takes 1, 2, 4 or 8")
    }
    guard !sweep || workers == 1 else { throw ValidationError("--sweep takes one worker") }
    if let repetitions, !(1...10_000).contains(repetitions) {
      throw ValidationError("--repetitions is \(repetitions); it takes 1...10000")
    }
    _ = try parsedPrecisions()
  }

  func run() throws {
    try ending {
      let options = try self.options()
      do {
        if sweep {
          try report(StepSweep(options).run { if !output.json { writeError("\($0) pixels, \($1) images") } })
        } else if workers > 1 {
          try report(
            StepBenchmark(options).run(
              .bench(
                "step-rank", "--size", "\(size)", "--batch", "\(batch)", "--threads", "\(threads)", "--workers",
                "\(workers)", "--transport", transport.rawValue, "--repetitions", "\(options.repetitions)",
                "--precisions",
                precisions)))
        } else {
          try report(StepBenchmark(options).run())
        }
      } catch let error as TrainingError {
        throw Failure(.usage, "\(error)")
      } catch let error as BenchmarkFailure {
        throw Failure(.bug, error.description, hint: "the rank's own message is above")
      }
    }
  }

  func options() throws -> StepBenchmark.Options {
    var options = StepBenchmark.Options()
    options.size = size
    options.batch = batch
    options.threads = threads
    options.workers = workers
    options.transport = transport
    options.repetitions = repetitions ?? (sweep ? 3 : options.repetitions)
    options.precisions = try parsedPrecisions()
    return options
  }

  private func parsedPrecisions() throws -> [StepBenchmark.Precision] {
    let names = precisions.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    let parsed = try names.map { name in
      guard let precision = StepBenchmark.Precision(rawValue: name) else {
        throw ValidationError("--precisions has \"\(name)\"; it takes fp32, fp16 and qat")
      }
      return precision
    }
    guard Set(parsed).count == parsed.count else {
      throw ValidationError("--precisions is \(precisions); it takes each precision once")
    }
    return parsed
  }

  private func report(_ result: StepBenchmark.Result) throws {
    if output.json { return try printJSON(result) }
    print(
      "ResNet-18, \(result.size)x\(result.size) pixels, batch \(result.batch) in \(result.virtualShards) virtual shards, "
        + (workers > 1 ? "\(workers) workers of " : "")
        + "\(result.threads) thread\(result.threads == 1 ? "" : "s"), \(result.instructionSet), \(result.machine.processor)"
    )
    let parts = StepPart.allCases
    var table = Table(
      [
        ("precision", .left), ("ms", .right), ("quartiles", .right), ("images/s", .right), ("GFLOP/s", .right),
        ("activations", .right), ("saved", .right),
      ] + parts.map { ($0.rawValue, .right) })
    for phase in result.phases {
      let spread = phase.milliseconds
      table.append(
        [
          phase.precision.rawValue, fixed(phase.medianMilliseconds, 1),
          "\(fixed(spread.lowerQuartile, 1))-\(fixed(spread.upperQuartile, 1))", fixed(phase.imagesPerSecond, 1),
          fixed(phase.gigaflopsPerSecond, 1), spokenBytes(UInt64(phase.activationBytes)),
          spokenBytes(UInt64(phase.savedActivationBytes)),
        ] + parts.map { fixed(phase.parts[$0.rawValue] ?? 0, 1) })
    }
    for line in table.lines { print(line) }
    for (precision, ratio) in result.timeRelativeToFP32.sorted(by: { $0.key < $1.key }) {
      print(
        "\(precision) / fp32: time \(fixed(ratio, 2)), activations "
          + fixed(result.activationBytesRelativeToFP32[precision] ?? 0, 2))
    }
  }

  private func report(_ result: StepSweep.Result) throws {
    if output.json { return try printJSON(result) }
    var header: [(String, Table.Alignment)] = [("pixels", .right), ("batch", .right), ("shards", .right)]
    for precision in try parsedPrecisions() {
      header += [("\(precision.rawValue) images/s", .right), ("GFLOP/s", .right)]
    }
    var table = Table(header)
    for point in result.points {
      table.append(
        ["\(point.size)", "\(point.batch)", "\(point.virtualShards)"]
          + point.phases.flatMap { [fixed($0.imagesPerSecond, 1), fixed($0.gigaflopsPerSecond, 1)] })
    }
    for line in table.lines { print(line) }
    for share in result.evenness {
      print(
        "\(share.precision.rawValue): slowest point \(share.worstSize) pixels, batch \(share.worstBatch), "
          + "\(fixed(100 * share.worstShareOfBest, 0)) % of the best GFLOP/s")
    }
  }
}

/// A rank; started by `BenchStep`.
struct BenchStepRank: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step-rank", abstract: "One rank of `temper bench step`.", shouldDisplay: false)

  @Option(help: "Number of the rank.")
  var rank: Int

  @OptionGroup var step: BenchStep

  func run() throws { try StepRank.run(step.options(), rank: rank) }
}
