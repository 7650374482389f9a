// What the executors lower: the graph's nodes with BatchNorm, residual add and ReLU taken together where nothing else reads
// what lies between, because the kernels compute them in one pass.

import Graph

/// One or several graph nodes that are computed as one.
struct FusedNode {
  /// What is computed.
  enum Kind {
    /// The model's input.
    case input
    case convolution(Convolution)
    case linear(Linear)
    /// relu?(batchNorm(source) + residual?).
    case normalization(BatchNorm, residual: NodeID?, relu: Bool)
    case relu
    /// relu?(sources[0] + sources[1]).
    case add(relu: Bool)
    case maxPool(MaxPool)
    case globalAveragePool
    case upsampleNearest(factor: Int)
    case fakeQuantize(FakeQuantize)
  }

  let kind: Kind
  /// The node that owns the parameters and gives the name: the BatchNorm of a fused normalization.
  let node: Node
  /// The last of the nodes taken together; its value is the result.
  let output: Node
  /// Data inputs, without the residual.
  let sources: [NodeID]

  /// All values it reads.
  var inputs: [NodeID] {
    if case .normalization(_, let residual?, _) = kind { sources + [residual] } else { sources }
  }

  /// Takes nodes together; the result is in topological order of outputs.
  static func fuse(_ graph: Graph) -> [FusedNode] {
    let consumers = graph.consumers()
    var absorbed: Set<NodeID> = []
    var fused: [NodeID: FusedNode] = [:]

    /// The only reader of a value that nobody else needs.
    func onlyReader(_ id: NodeID) -> Node? {
      guard consumers[id.index].count == 1, !graph.outputNodes.contains(id) else { return nil }
      return graph[consumers[id.index][0]]
    }
    func following(_ node: Node) -> (last: Node, relu: Bool) {
      guard let reader = onlyReader(node.id), case .relu = reader.operation else { return (node, false) }
      return (reader, true)
    }

    for node in graph.nodes where !absorbed.contains(node.id) {
      var (last, kind) = (node, Kind(node.operation))
      switch node.operation {
      case .batchNorm(let batchNorm):
        var residual: NodeID?
        if let reader = onlyReader(node.id), case .add = reader.operation, reader.inputs[0] == node.id {
          residual = reader.inputs[1]
          last = reader
          absorbed.insert(reader.id)
        }
        let (end, relu) = following(last)
        last = end
        kind = .normalization(batchNorm, residual: residual, relu: relu)
      case .add:
        let (end, relu) = following(node)
        last = end
        kind = .add(relu: relu)
      default: break
      }
      absorbed.insert(last.id)
      fused[last.id] = FusedNode(kind: kind, node: node, output: last, sources: node.inputs)
    }
    return graph.nodes.compactMap { fused[$0.id] }
  }
}

extension FusedNode.Kind {
  fileprivate init(_ operation: Operation) {
    self =
      switch operation {
      case .input: .input
      case .convolution(let convolution): .convolution(convolution)
      case .linear(let linear): .linear(linear)
      case .batchNorm(let batchNorm): .normalization(batchNorm, residual: nil, relu: false)
      case .relu: .relu
      case .add: .add(relu: false)
      case .maxPool(let maxPool): .maxPool(maxPool)
      case .globalAveragePool: .globalAveragePool
      case .upsampleNearest(let factor): .upsampleNearest(factor: factor)
      case .fakeQuantize(let fakeQuantize): .fakeQuantize(fakeQuantize)
      }
  }
}
