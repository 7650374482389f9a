// What is quantized in a graph, layer by layer: for logs and deploy.json. Read off the graph, so it cannot disagree.

public import Graph

/// The planned precision of one layer.
public struct LayerPrecision: Sendable, Hashable {
  /// What a layer computes in.
  public enum Precision: String, Sendable, Hashable {
    /// Integers in, integer weights where there are weights.
    case int8
    /// FP16 or FP32, the engine's choice.
    case float
  }

  /// Node name.
  public let layer: String
  /// Operation's name.
  public let operation: String
  /// Planned precision.
  public let precision: Precision
  /// Names of the fake-quantize nodes it reads, in input order.
  public let quantizedInputs: [String]
  /// Why it is float, where it is; empty for int8.
  public let reason: String
}

extension QuantizationPlacement {
  /// The precision of every convolution, linear, add and pooling node, in graph order.
  public static func report(of graph: Graph) -> [LayerPrecision] {
    graph.nodes.compactMap { node in
      let quantized = node.inputs.map { graph[$0] }.filter { input in
        if case .fakeQuantize = input.operation { true } else { false }
      }.map(\.name)
      let isInteger: Bool
      switch node.operation {
      case .convolution, .linear: isInteger = !quantized.isEmpty && node.operation.weightQuantization != nil
      case .add, .globalAveragePool: isInteger = !quantized.isEmpty
      default: return nil
      }
      let reason =
        isInteger
        ? "" : graph.outputNodes.contains(node.id) ? "output layer, kept in float" : "not quantized"
      return LayerPrecision(
        layer: node.name, operation: node.operation.name, precision: isInteger ? .int8 : .float,
        quantizedInputs: quantized, reason: reason)
    }
  }
}
