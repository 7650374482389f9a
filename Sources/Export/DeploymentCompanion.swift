// deploy.json: what goes beside model.onnx. The plan that a built engine is audited against, every scale, what the input
// must be, and the command that builds the engine.

import Foundation
import Graph
public import Quantization

/// The content of deploy.json.
public struct DeploymentCompanion: Sendable, Hashable, Codable {
  /// The input tensor and how pixels become it.
  public struct Input: Sendable, Hashable, Codable {
    /// Name in the ONNX file.
    public let name: String
    /// Order of the axes, "NCHW".
    public let layout: String
    /// Channels, height and width.
    public let shape: [Int]
    /// (pixel - mean) / deviation per channel, in units of stored pixels (0...255).
    public let mean: [Float]
    /// See mean.
    public let deviation: [Float]
  }

  /// The planned precision of one layer.
  public struct Layer: Sendable, Hashable, Codable {
    /// ONNX node name.
    public let name: String
    /// The graph's operation.
    public let operation: String
    /// "int8" or "float".
    public let precision: String
    /// Fake-quantize nodes it reads.
    public let quantizedInputs: [String]
    /// Why it is float; empty for int8.
    public let reason: String
  }

  /// The scale of one quantized activation: real = scale * integer.
  public struct Activation: Sendable, Hashable, Codable {
    /// Name of the Q/DQ pair.
    public let name: String
    /// Real units per level.
    public let scale: Float
    /// Smallest integer.
    public let minimum: Int32
    /// Largest integer.
    public let maximum: Int32
  }

  /// The scales of one weight tensor, per output channel.
  public struct Weight: Sendable, Hashable, Codable {
    /// Initializer name.
    public let name: String
    /// Real units per level.
    public let scales: [Float]
  }

  /// How TensorRT 10 builds and measures the engine.
  public struct TensorRT: Sendable, Hashable, Codable {
    /// The command with its arguments, ready for a shell.
    public let command: String
    /// The file that the command writes the layers of the engine to, for `temper audit engine`.
    public let layerInformation: String
  }

  /// Version of this file's format.
  public let formatVersion: Int
  /// The ONNX file it belongs to.
  public let model: String
  /// "int8" or "float".
  public let precision: String
  /// What goes in.
  public let input: Input
  /// Names of what comes out.
  public let outputs: [String]
  /// Class of each logit.
  public let classes: [String]
  /// Planned precision of each layer, in graph order.
  public let layers: [Layer]
  /// Scale of each quantized activation, in graph order.
  public let activations: [Activation]
  /// Scales of each integer weight, in graph order.
  public let weights: [Weight]
  /// The build command.
  public let tensorRT: TensorRT

  /// Describes the deployment of a model.
  /// - Parameters:
  ///   - deployed: the model.
  ///   - fileName: name of the ONNX file, without folder.
  public init(_ deployed: DeployedModel, fileName: String) {
    let graph = deployed.graph
    let source = graph[graph.input]
    formatVersion = 1
    model = fileName
    precision = deployed.isQuantized ? "int8" : "float"
    input = Input(
      name: source.name, layout: "NCHW",
      shape: [source.shape.channels, source.shape.height, source.shape.width], mean: deployed.normalization.mean,
      deviation: deployed.normalization.deviation)
    outputs = graph.outputs.map(\.name)
    classes = deployed.classNames
    layers = QuantizationPlacement.report(of: graph).map {
      Layer(
        name: $0.layer, operation: $0.operation, precision: $0.precision.rawValue, quantizedInputs: $0.quantizedInputs,
        reason: $0.reason)
    }
    activations = graph.fakeQuantizeNodes.compactMap { node in
      guard case .fakeQuantize(let fakeQuantize) = node.operation, let scale = deployed.activationScales[node.name]
      else { return nil }
      return Activation(
        name: node.name, scale: scale, minimum: fakeQuantize.range.minimum, maximum: fakeQuantize.range.maximum)
    }
    weights = graph.nodes.compactMap { node in
      guard case .quantized(let quantized)? = deployed.layers[node.name]?.weights else { return nil }
      return Weight(name: "\(node.name).weight", scales: quantized.scales)
    }
    tensorRT = Self.tensorRT(fileName: fileName, input: source, layers: layers, isQuantized: deployed.isQuantized)
  }

  /// The file's bytes: sorted keys, indented; the same model gives the same bytes.
  public func json() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
      return Array(try encoder.encode(self)) + [UInt8(ascii: "\n")]
    } catch {
      throw ExportError(
        .unsupportedGraph, "a scale, mean or deviation is not a finite number", location: model, cause: error)
    }
  }

  /// The command of TensorRT 10's trtexec.
  ///
  /// Q/DQ say what is INT8; "float" is pinned to FP16, else TensorRT may choose FP32 for the head.
  private static func tensorRT(fileName: String, input: Node, layers: [Layer], isQuantized: Bool) -> TensorRT {
    let stem = fileName.hasSuffix(".onnx") ? String(fileName.dropLast(5)) : fileName
    let layerFile = "\(stem).layers.json"
    let shape = "\(input.shape.channels)x\(input.shape.height)x\(input.shape.width)"
    let floatLayers = layers.filter { $0.precision == "float" && ["convolution", "linear"].contains($0.operation) }
    var arguments = [
      "trtexec", "--onnx=\(fileName)", "--saveEngine=\(stem).engine", "--fp16",
      "--minShapes=\(input.name):1x\(shape)", "--optShapes=\(input.name):8x\(shape)",
      "--maxShapes=\(input.name):32x\(shape)",
    ]
    if isQuantized {
      arguments += ["--int8", "--precisionConstraints=obey"]
      if !floatLayers.isEmpty {
        arguments.append("--layerPrecisions=" + floatLayers.map { "\($0.name):fp16" }.joined(separator: ","))
      }
    }
    arguments += ["--profilingVerbosity=detailed", "--exportLayerInfo=\(layerFile)"]
    return TensorRT(command: arguments.map(shellQuoted).joined(separator: " "), layerInformation: layerFile)
  }

  /// The word as one word of a POSIX shell.
  private static func shellQuoted(_ word: String) -> String {
    let plain = word.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_=.,:/+".contains($0)) }
    return plain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
  }
}
