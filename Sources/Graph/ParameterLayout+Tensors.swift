// Between the flat vectors and named tensors in torch order: what loading and saving a torchvision state dict needs.

extension ParameterLayout {
  /// Named float32 tensors in torch order from the flat vectors.
  /// - Parameters:
  ///   - parameterValues: `parameterElementCount` floats, weights in kernel order.
  ///   - bufferValues: `bufferElementCount` floats.
  public func tensors(parameters parameterValues: [Float], buffers bufferValues: [Float]) -> [NamedTensor] {
    precondition(
      parameterValues.count == parameterElementCount && bufferValues.count == bufferElementCount,
      "vectors of \(parameterValues.count) and \(bufferValues.count) floats for a layout of"
        + " \(parameterElementCount) and \(bufferElementCount)")
    return parameters.map { entry in
      let order = entry.parameter.weightOrder
      return NamedTensor(
        name: entry.parameter.name, shape: order.torchShape,
        floats: order.torchOrder(fromKernel: parameterValues[entry.range]))
    }
      + buffers.map { entry in
        NamedTensor(
          name: entry.buffer.name, shape: [entry.elementCount], floats: Array(bufferValues[entry.range]))
      }
  }

  /// The flat vectors from named tensors in torch order; `num_batches_tracked` and other extra tensors are ignored.
  /// - Returns: parameters and buffers with zero padding, weights in kernel order.
  /// - Throws: `GraphError.unknownName` for a missing tensor, `.shapeMismatch` for a wrong shape, `.invalidTensor` for
  ///   a type that is not float.
  public func vectors(from tensors: [NamedTensor]) throws -> (parameters: [Float], buffers: [Float]) {
    let byName = Dictionary(tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    var parameterValues = [Float](repeating: 0, count: parameterElementCount)
    for entry in parameters {
      let shape = entry.parameter.torchShape
      let values = try Self.values(entry.parameter.name, shape: shape, in: byName)
      parameterValues.replaceSubrange(
        entry.range, with: entry.parameter.weightOrder.kernelOrder(fromTorch: values))
    }
    var bufferValues = [Float](repeating: 0, count: bufferElementCount)
    for entry in buffers {
      let values = try Self.values(entry.buffer.name, shape: [entry.elementCount], in: byName)
      bufferValues.replaceSubrange(entry.range, with: values)
    }
    return (parameterValues, bufferValues)
  }

  private static func values(
    _ name: String, shape: [Int], in tensors: [String: NamedTensor]
  ) throws -> [Float] {
    guard let tensor = tensors[name] else {
      throw GraphError(
        .unknownName, "the model needs tensor \"\(name)\" of shape \(shape); it is missing",
        hint: "was the file saved from the same depth, width and stem?", location: name)
    }
    guard tensor.shape == shape else {
      throw GraphError(
        .shapeMismatch, "tensor has shape \(tensor.shape); the model needs \(shape)",
        hint: "was the file saved from the same width, stem and number of classes?", location: name)
    }
    return try tensor.floats()
  }
}
