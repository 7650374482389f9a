// Placement of Q/DQ by TensorRT's rules, read off the resulting graph.

import Graph
import Quantization
import Testing

@Suite("Placement")
struct PlacementTests {
  private func resNet(_ depth: Int = 10) throws -> Graph {
    try ResNet.build(depth: depth, width: 0.125, input: TensorShape(height: 64, width: 64, channels: 3), classes: 3)
  }

  /// "reader <- source" for every input that is quantized.
  private func quantizedInputs(of graph: Graph, _ node: String) -> [String] {
    (graph.node(named: node)?.inputs ?? []).map { graph[$0].name }
  }

  @Test("ResNet-10: every convolution's input, identities only, pooling; one node per tensor")
  func resNet10() throws {
    let graph = try QuantizationPlacement.apply(to: try resNet())
    #expect(
      graph.fakeQuantizeNodes.map(\.name) == [
        "conv1.input", "layer1.0.conv1.input", "layer1.0.conv2.input", "layer2.0.conv1.input",
        "layer2.0.conv2.input", "layer2.0.add.identity", "layer3.0.conv1.input", "layer3.0.conv2.input",
        "layer3.0.add.identity", "layer4.0.conv1.input", "layer4.0.conv2.input", "layer4.0.add.identity",
        "avgpool.input",
      ])
    // Identity without downsample: the tensor that conv1 reads, with the same node.
    #expect(quantizedInputs(of: graph, "layer1.0.conv1") == ["layer1.0.conv1.input"])
    #expect(quantizedInputs(of: graph, "layer1.0.add") == ["layer1.0.bn2", "layer1.0.conv1.input"])
    // With downsample: one node for conv1 and downsample.0, another for the branch's output.
    #expect(quantizedInputs(of: graph, "layer2.0.conv1") == ["layer2.0.conv1.input"])
    #expect(quantizedInputs(of: graph, "layer2.0.downsample.0") == ["layer2.0.conv1.input"])
    #expect(quantizedInputs(of: graph, "layer2.0.add") == ["layer2.0.bn2", "layer2.0.add.identity"])
    #expect(quantizedInputs(of: graph, "layer2.0.add.identity") == ["layer2.0.downsample.1"])
    #expect(quantizedInputs(of: graph, "fc") == ["avgpool"])
    #expect(graph.node(named: "fc")?.operation.weightQuantization == nil)
    #expect(graph.node(named: "conv1")?.operation.weightQuantization == WeightQuantization())
    #expect(graph.parameters.map(\.name) == (try resNet()).parameters.map(\.name))
  }

  @Test("ResNet-18 has 21 Q/DQ pairs: 17 block and stem inputs, 3 downsample identities, pooling")
  func resNet18() throws {
    let graph = try QuantizationPlacement.apply(to: try resNet(18))
    #expect(graph.fakeQuantizeNodes.count == 21)
    #expect(quantizedInputs(of: graph, "layer1.1.add") == ["layer1.1.bn2", "layer1.1.conv1.input"])
  }

  @Test("quantizeHead adds the last layer, and options reach every node")
  func options() throws {
    let weights = WeightQuantization(range: try IntegerRange(bits: 4, narrow: true), granularity: .perTensor)
    let activations = try IntegerRange(bits: 6)
    let graph = try QuantizationPlacement.apply(
      to: try resNet(), options: .init(weights: weights, activations: activations, quantizeHead: true))
    #expect(quantizedInputs(of: graph, "fc") == ["fc.input"])
    for node in graph.nodes {
      if node.operation.hasWeights { #expect(node.operation.weightQuantization == weights) }
      if case .fakeQuantize(let fakeQuantize) = node.operation { #expect(fakeQuantize.range == activations) }
    }
  }

  @Test("placement commutes with folding BatchNorm")
  func folded() throws {
    let unfolded = try QuantizationPlacement.apply(to: try resNet())
    #expect(try unfolded.foldingBatchNorm() == QuantizationPlacement.apply(to: try resNet().foldingBatchNorm()))
  }

  @Test("a pyramid's lateral convolution is not quantized at its output, the upsampled branch is; heads stay float")
  func pyramid() throws {
    var graph = try Graph(input: TensorShape(height: 8, width: 8, channels: 4))
    let coarse = try graph.convolution("c4", graph.input, outputChannels: 4, kernel: 3, stride: 2, padding: 1)
    let up = try graph.upsampleNearest("up", coarse, factor: 2)
    let lateral = try graph.convolution("lateral", graph.input, outputChannels: 4, kernel: 1)
    let merged = try graph.add("merge", up, lateral)
    try graph.addOutput("y", graph.convolution("head", merged, outputChannels: 2, kernel: 1))
    let plain = try graph.add("plain", up, graph.relu("relu", merged))
    try graph.addOutput("z", plain)
    let quantized = try QuantizationPlacement.apply(to: graph)
    #expect(quantizedInputs(of: quantized, "merge") == ["merge.identity", "lateral"])
    #expect(quantizedInputs(of: quantized, "lateral") == ["c4.input"])
    #expect(quantizedInputs(of: quantized, "head") == ["merge"])
    #expect(quantizedInputs(of: quantized, "plain") == ["up", "relu"])
  }

  @Test("the report says what computes in int8 and why the rest does not")
  func report() throws {
    let graph = try QuantizationPlacement.apply(to: try resNet())
    let report = QuantizationPlacement.report(of: graph)
    #expect(report.filter { $0.precision == .float }.map(\.layer) == ["fc"])
    #expect(report.last?.reason == "output layer, kept in float")
    let add = try #require(report.first { $0.layer == "layer1.0.add" })
    #expect(add.precision == .int8 && add.quantizedInputs == ["layer1.0.conv1.input"])
    let plain = QuantizationPlacement.report(of: try resNet())
    #expect(plain.allSatisfy { $0.precision == .float && !$0.reason.isEmpty })
  }

  @Test("a graph that is quantized already is refused")
  func twice() throws {
    let graph = try QuantizationPlacement.apply(to: try resNet())
    #expect { try QuantizationPlacement.apply(to: graph) } throws: {
      ($0 as? QuantizationError)?.code == .unsupportedGraph
    }
  }
}
