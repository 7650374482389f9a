// The graph IR: the only description of a model. Training, quantization, export, lint and reports read it.
// Nodes stand in topological order and are only appended, so an input always has a smaller index than its reader;
// transformations build a new graph and keep names. Values (weights, scales) live outside, by name.

/// A model: typed nodes in topological order with inferred shapes, one input, one or more named outputs.
public struct Graph: Sendable, Hashable {
  /// All nodes, inputs before readers; `nodes[0]` is the input.
  public private(set) var nodes: [Node]
  /// The results, in the order they were declared.
  public private(set) var outputs: [GraphOutput] = []
  private var idByName: [String: NodeID]

  /// Starts a graph that holds only its input.
  /// - Throws: `GraphError.invalidArgument` for a shape with an extent below 1.
  public init(input shape: TensorShape, name: String = "input") throws {
    guard shape.height > 0, shape.width > 0, shape.channels > 0 else {
      throw GraphError(.invalidArgument, "input shape \(shape) has an extent below 1", location: name)
    }
    nodes = [Node(id: NodeID(0), name: name, operation: .input, inputs: [], shape: shape)]
    idByName = [name: NodeID(0)]
  }

  /// The input node.
  public var input: NodeID { NodeID(0) }

  /// The node with this id, which must be this graph's.
  public subscript(id: NodeID) -> Node { nodes[id.index] }

  /// The node with this name, if there is one.
  public func node(named name: String) -> Node? { idByName[name].map { self[$0] } }

  /// The nodes that read each node, by node index, in graph order (a node that reads twice is listed twice).
  public func consumers() -> [[NodeID]] {
    var result = [[NodeID]](repeating: [], count: nodes.count)
    for node in nodes {
      for source in node.inputs { result[source.index].append(node.id) }
    }
    return result
  }

  /// The ids of nodes that are outputs.
  public var outputNodes: Set<NodeID> { Set(outputs.map(\.node)) }

  /// Multiply-accumulates of convolutions and linear layers, per sample.
  public var macCount: Int {
    nodes.reduce(0) { sum, node in
      switch node.operation {
      case .convolution(let convolution): sum + convolution.macsPerPixel * node.shape.pixelCount
      case .linear(let linear): sum + linear.inputChannels * linear.outputChannels
      default: sum
      }
    }
  }

  /// Declares a node's value as a result.
  /// - Throws: `GraphError.duplicateName`; `GraphError.unknownName` for a node of another graph.
  public mutating func addOutput(_ name: String, _ node: NodeID) throws {
    guard nodes.indices.contains(node.index) else {
      throw GraphError(.unknownName, "output refers to node \(node) of \(nodes.count)", location: name)
    }
    guard !outputs.contains(where: { $0.name == name }) else {
      throw GraphError(.duplicateName, "output \"\(name)\" is declared twice", location: name)
    }
    outputs.append(GraphOutput(name: name, node: node))
  }

  /// Appends any operation, checking its inputs and inferring its shape; the named builders call this.
  /// - Throws: `GraphError.duplicateName`, `.unknownName`, `.invalidArgument`, `.shapeMismatch`.
  @discardableResult
  public mutating func add(_ operation: Operation, name: String, inputs: [NodeID]) throws -> NodeID {
    guard idByName[name] == nil else {
      throw GraphError(.duplicateName, "node \"\(name)\" exists already", location: name)
    }
    for source in inputs where !nodes.indices.contains(source.index) {
      throw GraphError(.unknownName, "input \(source) is not one of \(nodes.count) nodes", location: name)
    }
    let shape = try operation.outputShape(of: inputs.map { self[$0].shape }, name: name)
    let id = NodeID(nodes.count)
    nodes.append(Node(id: id, name: name, operation: operation, inputs: inputs, shape: shape))
    idByName[name] = id
    return id
  }
}
