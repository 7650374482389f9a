// The exported file, decoded again: nodes, initializers, attributes, metadata.

import Foundation
import Graph
import Quantization
import SwiftProtobuf
import Testing

@testable import Export

@Suite("ONNX export")
struct ONNXExporterTests {
  private func decode(_ model: DeployedModel) throws -> Onnx_ModelProto {
    try Onnx_ModelProto(serializedBytes: try ONNXExporter.export(model))
  }

  @Test("the header says opset 13, format 8, a dynamic batch, NCHW input and class logits")
  func header() throws {
    let file = try decode(try ExampleModels.resNet())
    #expect(file.irVersion == 8 && file.opsetImport.map(\.version) == [13])
    let shapes = (file.graph.input + file.graph.output).map { value in
      [value.name]
        + value.type.tensorType.shape.dim.map { $0.dimParam.isEmpty ? "\($0.dimValue)" : $0.dimParam }
    }
    #expect(shapes == [["input", "N", "1", "48", "40"], ["logits", "N", "3"]])
    let metadata = Dictionary(uniqueKeysWithValues: file.metadataProps.map { ($0.key, $0.value) })
    #expect(
      metadata == [
        "classes": #"["good","scratch","o'clock"]"#, "mean": "[31.5]", "deviation": "[64]", "precision": #""int8""#,
      ])
  }

  @Test("every Q/DQ has a positive float scale and zero point 0; weights are int8 per channel on axis 0")
  func quantization() throws {
    let model = try ExampleModels.resNet()
    let graph = try decode(model).graph
    let initializers = Dictionary(uniqueKeysWithValues: graph.initializer.map { ($0.name, $0) })
    let linears = graph.node.filter { ["QuantizeLinear", "DequantizeLinear"].contains($0.opType) }
    #expect(graph.node.filter { $0.opType == "QuantizeLinear" }.count == model.activationScales.count)
    #expect(linears.count == 2 * model.activationScales.count + 12)
    for node in linears {
      let scale = try #require(initializers[node.input[1]])
      let zero = try #require(initializers[node.input[2]])
      #expect(scale.rawData.withUnsafeBytes { $0.bindMemory(to: Float.self).allSatisfy { $0 > 0 } })
      #expect(zero.dataType == 3 && zero.rawData.allSatisfy { $0 == 0 })
      #expect(scale.dims == zero.dims)
      guard let weight = initializers[node.input[0]] else { continue }
      #expect(weight.dataType == 3 && scale.dims == [weight.dims[0]])
      #expect(node.attribute.map { "\($0.name)=\($0.i)" } == ["axis=0"])
      #expect(weight.dims.reduce(1, *) == Int64(weight.rawData.count))
    }
  }

  @Test("weights keep torchvision's names and OIHW order; the head is float")
  func initializers() throws {
    let model = try ExampleModels.resNet()
    let graph = try decode(model).graph
    let weight = try #require(graph.initializer.first { $0.name == "layer2.0.downsample.0.weight" })
    #expect(weight.dims == [16, 8, 1, 1])
    guard case .quantized(let quantized)? = model.layers["layer2.0.downsample.0"]?.weights else {
      Issue.record("layer2.0.downsample.0 must be quantized")
      return
    }
    #expect(weight.rawData.map { Int8(bitPattern: $0) } == quantized.torchIntegers)
    let head = try #require(graph.initializer.first { $0.name == "fc.weight" })
    #expect(head.dims == [3, 64] && head.dataType == 1)
    let convolution = try #require(graph.node.first { $0.name == "conv1" })
    #expect(convolution.opType == "Conv" && convolution.input[2] == "conv1.bias")
    let attributes = convolution.attribute.map { "\($0.name) \($0.ints)" }
    #expect(attributes == ["kernel_shape [7, 7]", "pads [3, 3, 3, 3]", "strides [2, 2]"])
  }

  @Test("a shared Q/DQ pair feeds the convolution, the downsampling and the identity")
  func sharing() throws {
    let graph = try decode(try ExampleModels.resNet()).graph
    func readers(_ value: String) -> [String] { graph.node.filter { $0.input.contains(value) }.map(\.name) }
    #expect(readers("layer1.0.conv1.input") == ["layer1.0.conv1", "layer1.0.add"])
    #expect(readers("layer2.0.conv1.input").sorted() == ["layer2.0.conv1", "layer2.0.downsample.0"])
    #expect(readers("avgpool.input") == ["avgpool"])
  }

  @Test("a float model has no Q/DQ")
  func float() throws {
    let file = try decode(try ExampleModels.resNet(options: nil))
    #expect(
      Set(file.graph.node.map(\.opType)) == ["Conv", "Relu", "MaxPool", "Add", "GlobalAveragePool", "Flatten", "Gemm"])
    #expect(file.graph.initializer.allSatisfy { $0.dataType == 1 })
  }

  @Test("a range other than -128...127 gets a Clip with the range's ends")
  func clip() throws {
    let options = QuantizationPlacement.Options(activations: try IntegerRange(bits: 4, narrow: true))
    let model = try ExampleModels.resNet(options: options)
    let graph = try decode(model).graph
    #expect(graph.node.filter { $0.opType == "Clip" }.count == model.activationScales.count)
    let scale = try #require(model.activationScales["conv1.input"])
    for (end, level) in [("minimum", -7), ("maximum", 7)] {
      let bound = try #require(graph.initializer.first { $0.name == "conv1.input.clip.\(end)" })
      #expect(bound.rawData.withUnsafeBytes { $0.loadUnaligned(as: Float.self) } == Float(level) * scale)
    }
    #expect(!(try decode(try ExampleModels.resNet())).graph.node.contains { $0.opType == "Clip" })
  }

  @Test("nodes stand in topological order, names are unique, a value with two output names gets an Identity")
  func wellFormed() throws {
    for model in [try ExampleModels.resNet(), try ExampleModels.pyramid()] {
      let graph = try decode(model).graph
      var known = Set(graph.initializer.map(\.name) + graph.input.map(\.name) + [""])
      #expect(known.count == graph.initializer.count + graph.input.count + 1)
      for node in graph.node {
        #expect(node.input.allSatisfy(known.contains), "\(node.name)")
        for output in node.output { #expect(known.insert(output).inserted, "\(output)") }
      }
      #expect(Set(graph.node.map(\.name)).count == graph.node.count)
      #expect(graph.output.allSatisfy { known.contains($0.name) })
    }
    let pyramid = try decode(try ExampleModels.pyramid()).graph
    #expect(pyramid.node.filter { $0.opType == "Identity" }.map(\.output) == [["coarse.again"]])
    let resize = try #require(pyramid.node.first { $0.opType == "Resize" })
    #expect(resize.attribute.map { String(decoding: $0.s, as: UTF8.self) } == ["nearest", "asymmetric", "floor"])
  }

  @Test("the same model gives the same bytes")
  func deterministic() throws {
    #expect(try ONNXExporter.export(try ExampleModels.resNet()) == ONNXExporter.export(try ExampleModels.resNet()))
  }

  @Test("clashing names and spatial operations behind a linear layer are refused")
  func refusals() throws {
    var clash = try Graph(input: TensorShape(height: 1, width: 1, channels: 2))
    let fc = try clash.linear("fc", clash.input, outputChannels: 2)
    _ = try clash.relu("fc.weight", fc)
    try clash.addOutput("y", fc)
    #expect { try ONNXExporter.export(try ExampleModels.deploy(clash)) } throws: {
      "\($0)".contains("two values would be called \"fc.weight\"")
    }
    var spatial = try Graph(input: TensorShape(height: 1, width: 1, channels: 2))
    let flat = try spatial.linear("fc", spatial.input, outputChannels: 2)
    try spatial.addOutput("y", spatial.upsampleNearest("up", flat, factor: 2))
    #expect { try ONNXExporter.export(try ExampleModels.deploy(spatial)) } throws: {
      "\($0)".contains("up: error: upsampleNearest reads the flat output")
    }
  }
}
