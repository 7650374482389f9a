// A deployed model as ONNX: opset 13, Q/DQ, per-channel weights on axis 0, zero points 0, initializers only.
// Node names are the graph's (TensorRT's layer names come from them), weights and biases keep torchvision's names.
//
// A fakeQuantize node becomes QuantizeLinear + DequantizeLinear; an integer weight an int8 initializer behind a
// DequantizeLinear. QuantizeLinear saturates at -128...127; another range gets a Clip in front, so that every runtime
// computes what was trained. Layout turns from NHWC to NCHW: names of spatial axes change, values do not.
// Checked by onnx.checker and against onnxruntime in Tests/Parity/check_onnx.py.

import Foundation
import Graph
public import Quantization
import SwiftProtobuf

/// Writes deployed models as ONNX.
public enum ONNXExporter {
  /// Operator set; the first with per-axis Q/DQ, read by every TensorRT since 8.
  public static let opset: Int64 = 13
  /// Version of the file format that goes with the operator set and onnxruntime 1.10 and later.
  public static let formatVersion: Int64 = 8
  /// Name of the dynamic batch dimension.
  public static let batchDimension = "N"

  /// The ONNX file of a model; the same model gives the same bytes.
  ///
  /// Input: float32 [N, channels, height, width], normalized by the model's mean and deviation, which are recorded in
  /// the metadata ("mean", "deviation", "classes", "precision", each as JSON). Outputs: the graph's, [N, classes] behind a linear layer, else [N, channels, height, width].
  /// - Throws: `ExportError.unsupportedGraph` for operations that ONNX's layout cannot express or names that clash.
  public static func export(_ model: DeployedModel, name: String = "temper") throws -> [UInt8] {
    var lowering = ONNXLowering(model)
    var file = Onnx_ModelProto()
    file.irVersion = formatVersion
    file.producerName = "temper"
    file.graph = try lowering.graph(named: name)
    var operators = Onnx_OperatorSetIdProto()
    operators.domain = ""
    operators.version = opset
    file.opsetImport = [operators]
    do {
      file.metadataProps = try metadata(of: model).map { key, value in
        var entry = Onnx_StringStringEntryProto()
        entry.key = key
        entry.value = value
        return entry
      }
      return try file.serializedBytes()
    } catch {
      throw ExportError(
        .unsupportedGraph, "the model does not fit an ONNX file",
        hint: "a file holds at most 2 GiB; mean and deviation must be finite", cause: error)
    }
  }

  /// What a user of the file must know, as JSON: the class of each logit and the normalization of pixels.
  private static func metadata(of model: DeployedModel) throws -> [(String, String)] {
    func json(_ value: some Encodable) throws -> String {
      let encoder = JSONEncoder()
      encoder.outputFormatting = .withoutEscapingSlashes
      return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
    return [
      ("classes", try json(model.classNames)), ("deviation", try json(model.normalization.deviation)),
      ("mean", try json(model.normalization.mean)), ("precision", try json(model.isQuantized ? "int8" : "float")),
    ]
  }
}
