// temper evaluate: a checkpoint on its test split, as float and as integers.

import ArgumentParser
import Foundation
import Training

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Evaluate a checkpoint on its test split, float and INT8.",
    discussion: """
      The INT8 model is evaluated in integer arithmetic, the same that the exported model means. With --baseline, a \
      checkpoint of the same job without quantization, the table also shows that model, and what post-training \
      quantization makes of it.
      """)

  @Argument(help: "A checkpoint, or a directory of which the newest is taken.", completion: .directory)
  var checkpoint: String

  @Option(help: "A checkpoint of the float job to compare with and to quantize after training.", completion: .directory)
  var baseline: String?

  @Option(help: ArgumentHelp("Write label, predictions and logits of every sample (CSV).", valueName: "file"))
  var predictions: String?

  @Option(help: "Where data sets are kept. Default: the run's own.", completion: .directory)
  var data: String?

  @Option(help: "Threads to compute with.")
  var threads = ProcessInfo.processInfo.activeProcessorCount

  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard (1...256).contains(threads) else { throw ValidationError("--threads is \(threads); it takes 1...256") }
  }

  func run() throws {
    try ending {
      let trained = try TrainedModel(at: checkpoint, dataDirectory: data)
      let floatJob = try baseline.map { try TrainedModel(at: $0, dataDirectory: data) }
      let evaluated = try EvaluatedModels(trained, baseline: floatJob, threads: threads)
      if let predictions { try evaluated.write(to: predictions) }
      if output.json { return try printJSON(evaluated.comparison) }
      print(ComparisonTable.lines(evaluated.comparison).joined(separator: "\n"))
    }
  }
}
