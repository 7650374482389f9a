// temper export: a checkpoint as ONNX with Q/DQ nodes, and deploy.json beside it.

import ArgumentParser
import Checkpoint
import Export
import Foundation
import Training

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write a checkpoint as an ONNX model (opset 13, Q/DQ, BatchNorm folded).",
    discussion: """
      Writes deploy.json beside the model: planned precision of each layer, every scale, the input's normalization and \
      the trtexec command. The model takes normalized float NCHW images and gives logits.
      """)

  @Argument(help: "A checkpoint, or a directory of which the newest is taken.", completion: .directory)
  var checkpoint: String

  @Option(name: .shortAndLong, help: "The ONNX file to write.", completion: .file(extensions: ["onnx"]))
  var output: String

  @Flag(help: "Export the float model, without Q/DQ.")
  var float = false

  @Option(help: "Where data sets are kept. Default: the run's own.", completion: .directory)
  var data: String?

  @OptionGroup var format: OutputOptions

  struct Report: Encodable {
    var checkpoint: String
    var model: String
    var companion: String
    var precision: String
    var byteCount: Int
  }

  func run() throws {
    try ending {
      let trained = try TrainedModel(at: checkpoint, dataDirectory: data)
      guard float || trained.state.isQuantized else {
        throw Failure(
          .usage, "\(trained.directory) is of the \(trained.manifest.phase) phase and has no activation scales",
          hint: "export a checkpoint of the QAT phase, or use --float")
      }
      let model = try readable {
        float ? try trained.state.floatModel(plan: trained.plan) : try trained.state.quantizedModel(plan: trained.plan)
      }
      let files: ExportedFiles
      do {
        files = try ExportedFiles.write(model, to: output)
      } catch let error as ExportError where error.code == .writeFailed {
        throw Failure(.cannotCreate, error.description)
      }
      let size = (try? FileManager.default.attributesOfItem(atPath: files.model)[.size] as? Int) ?? 0
      if format.json {
        try printJSON(
          Report(
            checkpoint: trained.directory, model: files.model, companion: files.companion,
            precision: float ? "float" : "int8", byteCount: size))
      } else {
        print("\(files.model)  \(spokenBytes(UInt64(size)))  \(float ? "float" : "INT8")")
        print(files.companion)
      }
    }
  }
}
