// One typed node of a graph, and what names it.

/// The position of a node in its graph.
///
/// Valid only for the graph that gave it; names outlive transformations.
public struct NodeID: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// Index into `Graph.nodes`.
  public let index: Int

  init(_ index: Int) { self.index = index }

  /// Graph order.
  public static func < (left: NodeID, right: NodeID) -> Bool { left.index < right.index }
  /// "#7".
  public var description: String { "#\(index)" }
}

/// One operation with its inputs and inferred output shape.
public struct Node: Sendable, Hashable {
  /// Position in the graph.
  public let id: NodeID
  /// Unique path in torchvision's naming, "layer1.0.conv1".
  public let name: String
  /// What it computes.
  public let operation: Operation
  /// Nodes it reads; all come before it.
  public let inputs: [NodeID]
  /// Shape of its output, per sample.
  public let shape: TensorShape
}

/// A named result of a graph.
public struct GraphOutput: Sendable, Hashable {
  /// Name in exports and reports, "logits".
  public let name: String
  /// The node whose value it is.
  public let node: NodeID
}
