// deploy.json, files on disk, and agreement of onnxruntime with the plain twin of integer inference.

import Foundation
import Graph
import Quantization
import Testing

@testable import Export

@Suite("Exported files")
struct ExportedFilesTests {
  private func withFolder(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("temper-export-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
  }

  @Test("deploy.json holds the plan, every scale and the TensorRT 10 command, and reads back equal")
  func companion() throws {
    let model = try ExampleModels.resNet()
    let companion = DeploymentCompanion(model, fileName: "my model.onnx")
    let decoded = try JSONDecoder().decode(DeploymentCompanion.self, from: Data(try companion.json()))
    #expect(decoded == companion)
    #expect(companion.layers.filter { $0.precision == "float" }.map(\.name) == ["fc"])
    #expect(companion.activations.map(\.name) == model.graph.fakeQuantizeNodes.map(\.name))
    #expect(companion.activations.allSatisfy { $0.scale == model.activationScales[$0.name] && $0.minimum == -128 })
    #expect(companion.weights.first.map { "\($0.name) \($0.scales.count)" } == "conv1.weight 8")
    #expect(companion.weights.count == 12 && companion.input.shape == [1, 48, 40])
    #expect(
      companion.tensorRT.command
        == "trtexec '--onnx=my model.onnx' '--saveEngine=my model.engine' --fp16 --minShapes=input:1x1x48x40 "
        + "--optShapes=input:8x1x48x40 --maxShapes=input:32x1x48x40 --int8 --precisionConstraints=obey "
        + "--layerPrecisions=fc:fp16 --profilingVerbosity=detailed '--exportLayerInfo=my model.layers.json'")
    let float = DeploymentCompanion(try ExampleModels.resNet(options: nil), fileName: "float.onnx")
    #expect(float.precision == "float" && float.weights.isEmpty && !float.tensorRT.command.contains("--int8"))
  }

  @Test("both files are written, older ones replaced; a missing folder is named and nothing is left")
  func writing() throws {
    try withFolder { folder in
      let path = folder.appendingPathComponent("model.onnx").path
      try Data("old".utf8).write(to: URL(fileURLWithPath: path))
      let model = try ExampleModels.resNet()
      let files = try ExportedFiles.write(model, to: path)
      #expect(files.companion == folder.appendingPathComponent("deploy.json").path)
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(try ONNXExporter.export(model)))
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["deploy.json", "model.onnx"])
      let missing = folder.appendingPathComponent("no/such/model.onnx").path
      #expect { try ExportedFiles.write(model, to: missing) } throws: {
        ($0 as? ExportError)?.code == .writeFailed && "\($0)".contains(missing)
      }
    }
  }

  /// Needs Python with onnx and onnxruntime: TEMPER_PYTHON=.venv/bin/python, as `make parity` sets it.
  @Test(
    "onnxruntime computes what the plain twin computes",
    .enabled(if: ProcessInfo.processInfo.environment["TEMPER_PYTHON"] != nil),
    arguments: ["int8", "quantized head", "4 bits", "float", "pyramid"])
  func onnxruntime(kind: String) throws {
    let model =
      switch kind {
      case "int8": try ExampleModels.resNet()
      case "quantized head": try ExampleModels.resNet(options: .init(quantizeHead: true))
      case "4 bits":
        try ExampleModels.resNet(
          options: .init(
            weights: WeightQuantization(range: try IntegerRange(bits: 4, narrow: true), granularity: .perTensor),
            activations: try IntegerRange(bits: 4, narrow: true)))
      case "float": try ExampleModels.resNet(options: nil)
      default: try ExampleModels.pyramid()
      }
    try withFolder { folder in
      let files = try ExportedFiles.write(model, to: folder.appendingPathComponent("model.onnx").path)
      let shape = model.graph[model.graph.input].shape
      var expected: [Float] = []
      var inputs: [Float] = []
      for sample in 0..<12 {
        let input = ExampleModels.values("sample \(sample)", shape.elementCount).map { $0 * 3 }
        inputs += input  // one channel: NHWC is NCHW
        let output = try ReferenceInference(model: model).run(input)
        expected += channelsFirst(output, model.graph[model.graph.outputs[0].node].shape)
      }
      let (inputFile, expectedFile) = (
        folder.appendingPathComponent("inputs"), folder.appendingPathComponent("expected")
      )
      try inputs.withUnsafeBytes { Data($0) }.write(to: inputFile)
      try expected.withUnsafeBytes { Data($0) }.write(to: expectedFile)
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Parity/check_onnx.py")
      let process = Process()
      process.executableURL = URL(
        fileURLWithPath: ProcessInfo.processInfo.environment["TEMPER_PYTHON"] ?? "python3")
      process.arguments = [script.path, files.model, inputFile.path, expectedFile.path, "--maximum-flips", "0"]
      try process.run()
      process.waitUntilExit()
      #expect(process.terminationStatus == 0, "\(kind)")
    }
  }

  private func channelsFirst(_ values: [Float], _ shape: TensorShape) -> [Float] {
    (0..<shape.channels).flatMap { channel in
      (0..<shape.pixelCount).map { values[$0 * shape.channels + channel] }
    }
  }
}
