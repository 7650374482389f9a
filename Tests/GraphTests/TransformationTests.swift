// Transformations graph -> graph: folding BatchNorm, inserting and removing fake-quantize.

import Graph
import Testing

@Suite("Graph transformations")
struct TransformationTests {
  private func resNet() throws -> Graph {
    try ResNet.build(
      depth: 10, width: 0.125, stem: .small(stride: 2), input: TensorShape(height: 16, width: 16, channels: 3),
      classes: 4)
  }

  /// A state dict whose values depend on name and index, running variances positive.
  private func tensors(of graph: Graph) -> [NamedTensor] {
    func values(_ name: String, _ count: Int) -> [Float] {
      var state = name.utf8.reduce(UInt64(17)) { $0 &* 31 &+ UInt64($1) }
      return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let value = Float(Int64(bitPattern: state) >> 40) * 0x1p-23
        return name.hasSuffix("running_var") ? value.magnitude + 0.1 : value
      }
    }
    return graph.parameters.map {
      NamedTensor(name: $0.name, shape: $0.torchShape, floats: values($0.name, $0.elementCount))
    }
      + graph.buffers.map {
        NamedTensor(name: $0.name, shape: [$0.elementCount], floats: values($0.name, $0.elementCount))
      }
  }

  @Test("folding leaves no BatchNorm, gives every convolution a bias and keeps names and shapes")
  func foldedGraph() throws {
    let graph = try resNet()
    let folded = try graph.foldingBatchNorm()
    #expect(folded.buffers.isEmpty)
    #expect(folded.nodes.count == graph.nodes.count - graph.batchNormFolds.count)
    for node in folded.nodes {
      #expect(node.shape == graph.node(named: node.name)?.shape)
      if case .convolution(let convolution) = node.operation { #expect(convolution.hasBias) }
    }
    #expect(folded.node(named: "layer1.0.add").map { $0.inputs.map { folded[$0].name } } == ["layer1.0.conv2", "relu"])
  }

  @Test("folded weights are gamma W / sqrt(variance + epsilon), biases beta - gamma mean / sqrt(variance + epsilon)")
  func foldedValues() throws {
    let graph = try resNet()
    let state = tensors(of: graph)
    let (_, folded) = try graph.foldingBatchNorm(tensors: state)
    func values(_ name: String, in tensors: [NamedTensor]) throws -> [Double] {
      try #require(tensors.first { $0.name == name }).floats().map { Double($0) }
    }
    let weight = try values("layer2.0.downsample.0.weight", in: state)
    let foldedWeight = try values("layer2.0.downsample.0.weight", in: folded)
    let foldedBias = try values("layer2.0.downsample.0.bias", in: folded)
    let (gamma, beta, mean, variance) = (
      try values("layer2.0.downsample.1.weight", in: state), try values("layer2.0.downsample.1.bias", in: state),
      try values("layer2.0.downsample.1.running_mean", in: state),
      try values("layer2.0.downsample.1.running_var", in: state)
    )
    for channel in 0..<16 {
      let factor = gamma[channel] / (variance[channel] + Double(Float(1e-5))).squareRoot()
      // Four roundings of relative size 2^-24 each, one more for the sum.
      let bound = 5 * 0x1p-24 * (factor.magnitude * (1 + mean[channel].magnitude) + beta[channel].magnitude)
      #expect(abs(foldedBias[channel] - (beta[channel] - factor * mean[channel])) <= bound)
      for input in 0..<8 {
        let index = channel * 8 + input
        #expect(abs(foldedWeight[index] - factor * weight[index]) <= bound)
      }
    }
    #expect(try values("fc.weight", in: folded) == values("fc.weight", in: state))
  }

  @Test("a convolution with a second reader or that is an output keeps its BatchNorm")
  func unfoldable() throws {
    var graph = try Graph(input: TensorShape(height: 4, width: 4, channels: 2))
    let shared = try graph.convolution("shared", graph.input, outputChannels: 2, kernel: 1)
    _ = try graph.add("sum", graph.batchNorm("bn", shared), shared)
    let output = try graph.convolution("output", graph.input, outputChannels: 2, kernel: 1)
    _ = try graph.batchNorm("bn2", output)
    try graph.addOutput("y", output)
    #expect(graph.batchNormFolds.isEmpty)
    #expect(try graph.foldingBatchNorm() == graph)
  }

  @Test("fake-quantize nodes stand behind their source, feed only the chosen edges, and can be removed again")
  func insertAndRemove() throws {
    let graph = try resNet()
    let source = try #require(graph.node(named: "relu"))
    let reader = try #require(graph.node(named: "layer1.0.conv1"))
    let insertions = [
      FakeQuantizeInsertion(name: "q", source: source.id, edges: [GraphEdge(reader: reader.id, inputIndex: 0)]),
      FakeQuantizeInsertion(
        name: "input.q", source: graph.input, edges: [GraphEdge(reader: graph.nodes[1].id, inputIndex: 0)]),
    ]
    let quantized = try graph.insertingFakeQuantize(insertions, weights: [reader.id: WeightQuantization()])
    #expect(quantized.nodes[1].name == "input.q" && quantized.nodes[2].inputs == [quantized.nodes[1].id])
    let q = try #require(quantized.node(named: "q"))
    #expect(q.inputs.map { quantized[$0].name } == ["relu"] && q.id.index == q.inputs[0].index + 1)
    #expect(quantized.node(named: "layer1.0.conv1")?.inputs == [q.id])
    #expect(quantized.node(named: "layer1.0.add")?.inputs.last.map { quantized[$0].name } == "relu")
    #expect(quantized.node(named: "layer1.0.conv1")?.operation.weightQuantization == WeightQuantization())
    #expect(try quantized.removingFakeQuantize() == graph)
    #expect(ParameterLayout(quantized).parameters.map(\.offset) == ParameterLayout(graph).parameters.map(\.offset))
  }

  @Test("an insertion that does not fit the graph is refused")
  func wrongInsertions() throws {
    let graph = try resNet()
    let (first, second) = (graph.nodes[1].id, graph.nodes[2].id)
    func insertion(_ name: String, _ source: NodeID, _ reader: NodeID, _ input: Int = 0) -> FakeQuantizeInsertion {
      FakeQuantizeInsertion(name: name, source: source, edges: [GraphEdge(reader: reader, inputIndex: input)])
    }
    let wrong: [([FakeQuantizeInsertion], [NodeID: WeightQuantization], GraphError.Code)] = [
      ([insertion("q", graph.input, second)], [:], .invalidArgument),
      ([insertion("q", graph.input, first, 1)], [:], .invalidArgument),
      ([insertion("a", graph.input, first), insertion("b", graph.input, first)], [:], .invalidArgument),
      ([insertion("fc", graph.input, first)], [:], .duplicateName),
      ([], [second: WeightQuantization()], .invalidArgument),
    ]
    for (insertions, weights, code) in wrong {
      #expect { try graph.insertingFakeQuantize(insertions, weights: weights) } throws: {
        ($0 as? GraphError)?.code == code
      }
    }
  }
}
