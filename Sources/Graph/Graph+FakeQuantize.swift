// Inserting and removing Q/DQ. Which tensors get one is decided by Quantization; this only rewires.

/// One input of one node.
public struct GraphEdge: Sendable, Hashable {
  /// The node that reads.
  public let reader: NodeID
  /// Which of its inputs.
  public let inputIndex: Int

  /// Names an edge.
  public init(reader: NodeID, inputIndex: Int) {
    self.reader = reader
    self.inputIndex = inputIndex
  }
}

/// One fake-quantize node to insert: behind `source`, in front of the listed edges only.
public struct FakeQuantizeInsertion: Sendable, Hashable {
  /// Name of the new node; it names the observer and the scale too.
  public let name: String
  /// The node whose value is quantized.
  public let source: NodeID
  /// The edges that read the quantized value; other readers of the source keep the plain value.
  public let edges: Set<GraphEdge>
  /// Range of the integers.
  public let fakeQuantize: FakeQuantize

  /// Describes an insertion.
  public init(name: String, source: NodeID, edges: Set<GraphEdge>, fakeQuantize: FakeQuantize = FakeQuantize()) {
    self.name = name
    self.source = source
    self.edges = edges
    self.fakeQuantize = fakeQuantize
  }
}

extension Graph {
  /// A copy with fake-quantize nodes right behind their sources and weight quantization on the named nodes.
  /// - Parameters:
  ///   - insertions: ids are this graph's.
  ///   - weights: how to quantize the weights of convolution and linear nodes, by node.
  /// - Throws: `GraphError.invalidArgument` for an edge that does not read its source, or that two insertions claim,
  ///   and for weights on a node that has none; `.duplicateName` for a name in use.
  public func insertingFakeQuantize(
    _ insertions: [FakeQuantizeInsertion], weights: [NodeID: WeightQuantization]
  ) throws -> Graph {
    var insertionByEdge: [GraphEdge: Int] = [:]
    for (index, insertion) in insertions.enumerated() {
      for edge in insertion.edges {
        guard nodes.indices.contains(edge.reader.index),
          self[edge.reader].inputs.indices.contains(edge.inputIndex),
          self[edge.reader].inputs[edge.inputIndex] == insertion.source
        else {
          throw GraphError(
            .invalidArgument, "input \(edge.inputIndex) of node \(edge.reader) does not read \(insertion.source)",
            location: insertion.name)
        }
        guard insertionByEdge.updateValue(index, forKey: edge) == nil else {
          throw GraphError(
            .invalidArgument, "input \(edge.inputIndex) of \(self[edge.reader].name) is quantized twice",
            location: insertion.name)
        }
      }
    }
    for id in weights.keys where !self[id].operation.hasWeights {
      throw GraphError(.invalidArgument, "\(self[id].operation.name) has no weights", location: self[id].name)
    }
    let insertionsBySource = Dictionary(grouping: insertions.indices, by: { insertions[$0].source })
    var quantized = [NodeID?](repeating: nil, count: insertions.count)
    func insert(behind source: NodeID, as newSource: NodeID, into graph: inout Graph) throws {
      for index in insertionsBySource[source] ?? [] {
        quantized[index] = try graph.add(
          .fakeQuantize(insertions[index].fakeQuantize), name: insertions[index].name, inputs: [newSource])
      }
    }
    return try rewritten { graph, node, inputs in
      if graph.nodes.count == 1 { try insert(behind: input, as: graph.input, into: &graph) }
      let inputs = inputs.enumerated().map { index, plain in
        insertionByEdge[GraphEdge(reader: node.id, inputIndex: index)].flatMap { quantized[$0] } ?? plain
      }
      var operation = node.operation
      if let quantization = weights[node.id] { operation.weightQuantization = quantization }
      let id = try graph.add(operation, name: node.name, inputs: inputs)
      try insert(behind: node.id, as: id, into: &graph)
      return id
    }
  }

  /// A copy without fake-quantize nodes and weight quantization: the float model.
  public func removingFakeQuantize() throws -> Graph {
    try rewritten { graph, node, inputs in
      if case .fakeQuantize = node.operation { return inputs[0] }
      var operation = node.operation
      if operation.hasWeights { operation.weightQuantization = nil }
      return try graph.add(operation, name: node.name, inputs: inputs)
    }
  }

  /// The fake-quantize nodes in graph order.
  public var fakeQuantizeNodes: [Node] {
    nodes.filter { if case .fakeQuantize = $0.operation { true } else { false } }
  }
}
