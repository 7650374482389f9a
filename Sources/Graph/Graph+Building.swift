// Named builders, so that a model reads like its paper. Each appends one node and returns its id.

extension Graph {
  /// Appends a convolution; input channels come from the input's shape.
  /// - Throws: `GraphError`, see `add(_:name:inputs:)`; the same for every builder here.
  public mutating func convolution(
    _ name: String, _ input: NodeID, outputChannels: Int, kernel: Int, stride: Int = 1, padding: Int = 0,
    hasBias: Bool = false
  ) throws -> NodeID {
    let convolution = Convolution(
      inputChannels: self[input].shape.channels, outputChannels: outputChannels, kernel: kernel, stride: stride,
      padding: padding, hasBias: hasBias)
    return try add(.convolution(convolution), name: name, inputs: [input])
  }

  /// Appends a fully connected layer over a 1x1 input.
  public mutating func linear(
    _ name: String, _ input: NodeID, outputChannels: Int, hasBias: Bool = true
  ) throws -> NodeID {
    let linear = Linear(
      inputChannels: self[input].shape.channels, outputChannels: outputChannels, hasBias: hasBias)
    return try add(.linear(linear), name: name, inputs: [input])
  }

  /// Appends a batch normalization with torch's defaults.
  public mutating func batchNorm(
    _ name: String, _ input: NodeID, epsilon: Float = 1e-5, momentum: Float = 0.1
  ) throws -> NodeID {
    let batchNorm = BatchNorm(channels: self[input].shape.channels, epsilon: epsilon, momentum: momentum)
    return try add(.batchNorm(batchNorm), name: name, inputs: [input])
  }

  /// Appends max(x, 0).
  public mutating func relu(_ name: String, _ input: NodeID) throws -> NodeID {
    try add(.relu, name: name, inputs: [input])
  }

  /// Appends a sum; in a residual block `main` comes first, `identity` second, and quantization relies on that order.
  public mutating func add(_ name: String, _ main: NodeID, _ identity: NodeID) throws -> NodeID {
    try add(.add, name: name, inputs: [main, identity])
  }

  /// Appends a max pooling.
  public mutating func maxPool(
    _ name: String, _ input: NodeID, kernel: Int, stride: Int, padding: Int = 0
  ) throws -> NodeID {
    try add(.maxPool(MaxPool(kernel: kernel, stride: stride, padding: padding)), name: name, inputs: [input])
  }

  /// Appends the mean over all pixels.
  public mutating func globalAveragePool(_ name: String, _ input: NodeID) throws -> NodeID {
    try add(.globalAveragePool, name: name, inputs: [input])
  }

  /// Appends nearest-neighbor upsampling by a whole factor.
  public mutating func upsampleNearest(_ name: String, _ input: NodeID, factor: Int) throws -> NodeID {
    try add(.upsampleNearest(factor: factor), name: name, inputs: [input])
  }
}
