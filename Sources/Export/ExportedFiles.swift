// Writing an export: model.onnx and deploy.json, each complete or not there at all.

import Foundation
public import Quantization

/// The files of one export.
public struct ExportedFiles: Sendable, Hashable {
  /// Path of the ONNX file.
  public let model: String
  /// Path of deploy.json.
  public let companion: String

  /// Exports a model to files, replacing older ones.
  /// - Parameters:
  ///   - deployed: the model.
  ///   - path: the ONNX file; its folder must exist.
  ///   - companionPath: deploy.json; beside the ONNX file unless told.
  /// - Throws: `ExportError.unsupportedGraph`, see `ONNXExporter.export`; `.writeFailed` with the path.
  public static func write(
    _ deployed: DeployedModel, to path: String, companionPath: String? = nil
  ) throws -> ExportedFiles {
    let url = URL(fileURLWithPath: path)
    let companion =
      companionPath.map(URL.init(fileURLWithPath:))
      ?? url.deletingLastPathComponent()
      .appendingPathComponent("deploy.json")
    let description = try DeploymentCompanion(deployed, fileName: url.lastPathComponent).json()
    try write(try ONNXExporter.export(deployed), to: url)
    try write(description, to: companion)
    return ExportedFiles(model: url.path, companion: companion.path)
  }

  private static func write(_ bytes: [UInt8], to url: URL) throws {
    do {
      try Data(bytes).write(to: url, options: .atomic)
    } catch {
      throw ExportError(
        .writeFailed, "cannot write \(bytes.count) bytes",
        hint: "does the folder exist, may it be written, is the disk full?",
        location: url.path, cause: error)
    }
  }
}
