// The common part of transformations graph -> graph: walk in topological order, rebuild, keep names.

extension Graph {
  /// Rebuilds the graph node by node.
  /// - Parameter rewrite: appends what replaces a node and returns the id that its readers shall use; gets the new
  ///   graph, the old node and its inputs as ids of the new graph.
  func rewritten(
    _ rewrite: (inout Graph, Node, [NodeID]) throws -> NodeID
  ) throws -> Graph {
    var result = try Graph(input: self[input].shape, name: self[input].name)
    var newID = [result.input]
    newID.reserveCapacity(nodes.count)
    for node in nodes.dropFirst() {
      newID.append(try rewrite(&result, node, node.inputs.map { newID[$0.index] }))
    }
    for output in outputs { try result.addOutput(output.name, newID[output.node.index]) }
    return result
  }
}
