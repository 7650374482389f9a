// Where Q/DQ go, by TensorRT's explicit-quantization rules (reference quantization.md, section 4.2):
// the data input and weights of every convolution and linear layer; the identity branch only of a residual add, so that
// convolution + add (+ ReLU) fuse to INT8; before global average pooling. The last layers (a convolution or linear node
// that is an output) stay in float unless asked. One tensor gets one Q/DQ, shared by all of its quantized readers:
// a block's input feeds conv1, downsample.0 and the identity with one scale.
// Max pooling and nearest upsampling pass Q/DQ through unchanged, so none is placed at their inputs.

public import Graph

/// Placement of fake-quantize nodes and weight quantization.
public enum QuantizationPlacement {
  /// What is quantized and how.
  public struct Options: Sendable, Hashable {
    /// Applied to every quantized layer.
    public var weights: WeightQuantization
    /// Range of every quantized activation.
    public var activations: IntegerRange
    /// Whether layers whose value is an output of the graph are quantized too.
    public var quantizeHead: Bool

    /// Per-channel weights of -127...127, activations of -128...127 and a float head unless told.
    public init(
      weights: WeightQuantization = WeightQuantization(), activations: IntegerRange = .int8,
      quantizeHead: Bool = false
    ) {
      self.weights = weights
      self.activations = activations
      self.quantizeHead = quantizeHead
    }
  }

  /// The quantized graph of a float graph, folded or not.
  ///
  /// Parameters and their layout do not change. A fake-quantize node is named after its first reader: "layer1.0.conv1.input", "layer2.0.add.identity",
  /// "avgpool.input".
  /// - Throws: `QuantizationError.unsupportedGraph` when the graph is quantized already.
  public static func apply(to graph: Graph, options: Options = Options()) throws -> Graph {
    guard graph.fakeQuantizeNodes.isEmpty, !graph.nodes.contains(where: { $0.operation.weightQuantization != nil })
    else {
      throw QuantizationError(
        .unsupportedGraph, "the graph has fake-quantize nodes already", hint: "remove them first")
    }
    var weights: [NodeID: WeightQuantization] = [:]
    var edgesBySource: [NodeID: Set<GraphEdge>] = [:]
    var sources: [NodeID] = []
    var names: [NodeID: String] = [:]
    for node in graph.nodes {
      guard let edge = quantizedEdge(of: node, in: graph, options: options) else { continue }
      if node.operation.hasWeights { weights[node.id] = options.weights }
      let source = node.inputs[edge.inputIndex]
      if edgesBySource[source] == nil {
        sources.append(source)
        names[source] = node.name + (node.operation == .add ? ".identity" : ".input")
      }
      edgesBySource[source, default: []].insert(edge)
    }
    let insertions = sources.map { source in
      FakeQuantizeInsertion(
        name: names[source] ?? graph[source].name, source: source, edges: edgesBySource[source] ?? [],
        fakeQuantize: FakeQuantize(range: options.activations))
    }
    return try graph.insertingFakeQuantize(insertions, weights: weights)
  }

  /// The input of a node that must be quantized, if any.
  private static func quantizedEdge(of node: Node, in graph: Graph, options: Options) -> GraphEdge? {
    switch node.operation {
    case .convolution, .linear:
      if graph.outputNodes.contains(node.id), !options.quantizeHead { return nil }
      return GraphEdge(reader: node.id, inputIndex: 0)
    case .globalAveragePool: return GraphEdge(reader: node.id, inputIndex: 0)
    case .add: return identityInput(of: node, in: graph).map { GraphEdge(reader: node.id, inputIndex: $0) }
    default: return nil
    }
  }

  /// The input of an add that is not the convolution the add fuses with: the second when the first comes from a
  /// convolution, else the first when the second does; none when neither does (such an add stays in float).
  private static func identityInput(of node: Node, in graph: Graph) -> Int? {
    func isConvolution(_ input: Int) -> Bool {
      var source = graph[node.inputs[input]]
      if case .batchNorm = source.operation { source = graph[source.inputs[0]] }
      if case .convolution = source.operation { return true }
      return false
    }
    return isConvolution(0) ? 1 : isConvolution(1) ? 0 : nil
  }
}
