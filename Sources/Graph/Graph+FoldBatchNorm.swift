// Folding BatchNorm into the convolution before it: y = gamma (conv(x) - mean) / sqrt(variance + epsilon) + beta
// becomes a convolution with weights r W and bias beta + r (b - mean), r = gamma / sqrt(variance + epsilon).
// A BatchNorm is foldable when it is the only reader of a convolution that is not an output itself.

/// A convolution and the BatchNorm that folds into it; ids are of the unfolded graph.
public struct BatchNormFold: Sendable, Hashable {
  /// The convolution; keeps its name and gets a bias.
  public let convolution: NodeID
  /// The BatchNorm; disappears, its readers read the convolution.
  public let batchNorm: NodeID
}

extension Graph {
  /// The pairs that `foldingBatchNorm` folds, in graph order.
  public var batchNormFolds: [BatchNormFold] {
    let consumers = consumers()
    let outputs = outputNodes
    return nodes.compactMap { node in
      guard case .batchNorm = node.operation, let source = node.inputs.first,
        case .convolution = self[source].operation, consumers[source.index].count == 1, !outputs.contains(source)
      else { return nil }
      return BatchNormFold(convolution: source, batchNorm: node.id)
    }
  }

  /// A copy in which every foldable BatchNorm is part of its convolution.
  public func foldingBatchNorm() throws -> Graph {
    let folds = batchNormFolds
    let folded = Set(folds.map(\.convolution))
    let removed = Set(folds.map(\.batchNorm))
    return try rewritten { graph, node, inputs in
      if removed.contains(node.id) { return inputs[0] }
      var operation = node.operation
      if folded.contains(node.id), case .convolution(var convolution) = operation {
        convolution.hasBias = true
        operation = .convolution(convolution)
      }
      return try graph.add(operation, name: node.name, inputs: inputs)
    }
  }

  /// Folds graph and float values together.
  /// - Parameter tensors: every parameter and buffer of this graph, torch order, as in a state dict.
  /// - Returns: the folded graph and exactly its parameters, torch order, graph order.
  /// - Throws: `GraphError` for missing or wrong tensors, see `ParameterLayout.vectors(from:)`.
  public func foldingBatchNorm(tensors: [NamedTensor]) throws -> (graph: Graph, tensors: [NamedTensor]) {
    let layout = ParameterLayout(self)
    let (parameters, buffers) = try layout.vectors(from: tensors)
    var values: [String: [Float]] = [:]
    for entry in layout.parameters {
      values[entry.parameter.name] = entry.parameter.weightOrder.torchOrder(fromKernel: parameters[entry.range])
    }
    for entry in layout.buffers { values[entry.buffer.name] = Array(buffers[entry.range]) }
    for fold in batchNormFolds {
      let affine = batchNormAffine(fold, values: values)
      let name = self[fold.convolution].name
      values["\(name).weight"] = Self.scaleRows(values["\(name).weight"] ?? [], by: affine.map(\.factor))
      values["\(name).bias"] = affine.map(\.bias)
    }
    let graph = try foldingBatchNorm()
    let folded = try graph.parameters.map { parameter in
      guard let floats = values[parameter.name] else {
        throw GraphError(.unknownName, "folding made no \"\(parameter.name)\"", location: parameter.name)
      }
      return NamedTensor(name: parameter.name, shape: parameter.torchShape, floats: floats)
    }
    let kept = graph.buffers.compactMap { buffer in
      values[buffer.name].map { NamedTensor(name: buffer.name, shape: [buffer.elementCount], floats: $0) }
    }
    return (graph, folded + kept)
  }

  /// Factor and bias per output channel that a folded convolution gets: y = factor * conv(x) + bias.
  /// - Parameters:
  ///   - fold: the BatchNorm and the convolution it follows.
  ///   - values: parameters and buffers by name; the fold's must be there.
  public func batchNormAffine(_ fold: BatchNormFold, values: [String: [Float]]) -> [ChannelAffine] {
    guard case .batchNorm(let batchNorm) = self[fold.batchNorm].operation else {
      preconditionFailure("\(self[fold.batchNorm].name) is not a BatchNorm")
    }
    let name = self[fold.batchNorm].name
    func vector(_ suffix: String) -> [Float] {
      guard let vector = values["\(name).\(suffix)"], vector.count == batchNorm.channels else {
        preconditionFailure("\(name).\(suffix) is missing or has not \(batchNorm.channels) values")
      }
      return vector
    }
    let (gamma, beta) = (vector("weight"), vector("bias"))
    let (mean, variance) = (vector("running_mean"), vector("running_var"))
    let bias = values["\(self[fold.convolution].name).bias"]
    return (0..<batchNorm.channels).map { channel in
      let factor = gamma[channel] / (variance[channel] + batchNorm.epsilon).squareRoot()
      let shift = beta[channel] + factor * ((bias?[channel] ?? 0) - mean[channel])
      return ChannelAffine(factor: factor, bias: shift)
    }
  }

  private static func scaleRows(_ weights: [Float], by factors: [Float]) -> [Float] {
    let rowCount = weights.count / max(factors.count, 1)
    return weights.enumerated().map { index, weight in weight * factors[index / rowCount] }
  }
}

/// What BatchNorm in evaluation does to one channel: y = factor * x + bias.
public struct ChannelAffine: Sendable, Hashable {
  /// gamma / sqrt(variance + epsilon).
  public let factor: Float
  /// beta + factor * (convolution bias - mean).
  public let bias: Float
}
