// temper bench gemm: ResNet-18's convolutions against what the core can do at most.

import ArgumentParser
import Benchmark

struct BenchGemm: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gemm",
    abstract: "Measure ResNet-18's convolutions, layer by layer, against this core's peak.",
    discussion: """
      The peak is measured first: independent multiply-adds in registers, in FP32 and of integers. Without VNNI, INT8 \
      is multiplied as INT16, at the same peak. Shares are of the peak times the threads. Multiplications count as the \
      direct algorithm makes them, with padding, so Winograd's products of 3x3 kernels may exceed the peak.
      """)

  @Option(help: ArgumentHelp("Height and width of the network's input.", valueName: "pixels"))
  var size = 64

  @Option(help: ArgumentHelp("Images per call; a multiple of 8 virtual shards.", valueName: "images"))
  var batch = 64

  @Option(help: "Threads.")
  var threads = 1

  @Option(help: ArgumentHelp("Measured calls per product, after an unmeasured one.", valueName: "calls"))
  var repetitions = 9

  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard (32...1024).contains(size) else { throw ValidationError("--size is \(size); it takes 32...1024 pixels") }
    guard (8...4096).contains(batch), batch.isMultiple(of: 8) else {
      throw ValidationError("--batch is \(batch); it takes multiples of 8 from 8 to 4096")
    }
    guard (1...256).contains(threads) else { throw ValidationError("--threads is \(threads); it takes 1...256") }
    guard (1...10_000).contains(repetitions) else {
      throw ValidationError("--repetitions is \(repetitions); it takes 1...10000")
    }
  }

  func run() throws {
    var options = GemmBenchmark.Options()
    options.size = size
    options.batch = batch
    options.threads = threads
    options.repetitions = repetitions
    let result = try GemmBenchmark(options).run()
    if output.json { return try printJSON(result) }
    print(
      "batch \(batch), \(threads) thread\(threads == 1 ? "" : "s"), \(result.instructionSet), \(result.machine.processor)"
    )
    let (fp32, int8, int16) = (result.peak.fp32, result.peak.int8, result.peak.int16)
    print("peak \(fixed(fp32, 0)) GFLOP/s in FP32, \(fixed(int8, 0)) GOP/s in INT8, \(fixed(int16, 0)) in INT16")
    print("each cell: ms, GFLOP/s, share of the peak")
    var table = Table(
      [("layer", .left), ("shape", .left)] + GemmBenchmark.Result.columns.map { ($0.label, .right) })
    for layer in result.layers {
      let more = layer.names.count > 1 ? " x\(layer.names.count)" : ""
      table.append(
        [
          (layer.names.first ?? "") + more,
          "\(layer.inputSize)x\(layer.inputSize)x\(layer.inputChannels), \(layer.kernel)x\(layer.kernel)/\(layer.stride), "
            + "\(layer.outputChannels)",
        ] + GemmBenchmark.Result.columns.map { $0.of(layer).map(cell) ?? "-" })
    }
    for (name, totals) in [("all 3x3", result.threeByThree), ("all", result.all)] {
      table.append(
        [name, "as often as in the network"]
          + GemmBenchmark.Result.columns.map { totals[$0.key].map(cell) ?? "-" })
    }
    for line in table.lines { print(line) }
  }

  private func cell(_ product: GemmBenchmark.Result.Product) -> String {
    cell(product.medianMilliseconds, product.gigaflopsPerSecond, product.shareOfPeak)
  }

  private func cell(_ total: GemmBenchmark.Result.Total) -> String {
    cell(total.milliseconds, total.gigaflopsPerSecond, total.shareOfPeak)
  }

  private func cell(_ milliseconds: Double, _ speed: Double, _ share: Double) -> String {
    "\(fixed(milliseconds, 2)) \(fixed(speed, 0)) \(fixed(100 * share, 0)) %"
  }
}
