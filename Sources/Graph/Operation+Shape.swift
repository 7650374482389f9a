// Shape inference and attribute checks: the one place where an operation is validated.

extension Operation {
  /// The shape this operation makes of its inputs' shapes.
  /// - Throws: `GraphError.invalidArgument` for attributes out of range, `.shapeMismatch` for inputs that do not fit.
  func outputShape(of inputs: [TensorShape], name: String) throws -> TensorShape {
    let arity = if case .add = self { 2 } else { 1 }
    guard inputs.count == arity else {
      throw GraphError(.invalidArgument, "\(self.name) reads \(arity) inputs, not \(inputs.count)", location: name)
    }
    let input = inputs[0]
    switch self {
    case .input:
      throw GraphError(.invalidArgument, "a graph has one input, made by its initializer", location: name)
    case .convolution(let convolution):
      try Self.check(window: convolution.kernel, convolution.stride, convolution.padding, name: name)
      try Self.check(channels: convolution.inputChannels, are: input, name: name)
      try Self.check(outputChannels: convolution.outputChannels, name: name)
      return try Self.slide(
        input, convolution.kernel, convolution.stride, convolution.padding,
        channels: convolution.outputChannels, name: name)
    case .linear(let linear):
      guard input.pixelCount == 1 else {
        throw GraphError(
          .shapeMismatch, "linear reads a 1x1 map, not \(input)", hint: "pool globally first", location: name)
      }
      try Self.check(channels: linear.inputChannels, are: input, name: name)
      try Self.check(outputChannels: linear.outputChannels, name: name)
      return TensorShape(height: 1, width: 1, channels: linear.outputChannels)
    case .batchNorm(let batchNorm):
      try Self.check(channels: batchNorm.channels, are: input, name: name)
      guard batchNorm.epsilon > 0, batchNorm.epsilon.isFinite, (0...1).contains(batchNorm.momentum) else {
        throw GraphError(
          .invalidArgument,
          "epsilon \(batchNorm.epsilon) must be > 0 and momentum \(batchNorm.momentum) within 0...1", location: name)
      }
      return input
    case .relu, .fakeQuantize: return input
    case .add:
      guard inputs[0] == inputs[1] else {
        throw GraphError(.shapeMismatch, "cannot add \(inputs[0]) and \(inputs[1])", location: name)
      }
      return input
    case .maxPool(let pool):
      try Self.check(window: pool.kernel, pool.stride, pool.padding, name: name)
      guard pool.padding * 2 <= pool.kernel else {
        throw GraphError(
          .invalidArgument, "padding \(pool.padding) exceeds half of kernel \(pool.kernel)", location: name)
      }
      return try Self.slide(input, pool.kernel, pool.stride, pool.padding, channels: input.channels, name: name)
    case .globalAveragePool: return TensorShape(height: 1, width: 1, channels: input.channels)
    case .upsampleNearest(let factor):
      guard factor >= 1 else {
        throw GraphError(.invalidArgument, "factor \(factor) is below 1", location: name)
      }
      return TensorShape(height: input.height * factor, width: input.width * factor, channels: input.channels)
    }
  }

  private static func check(window kernel: Int, _ stride: Int, _ padding: Int, name: String) throws {
    guard kernel >= 1, stride >= 1, padding >= 0 else {
      throw GraphError(
        .invalidArgument, "kernel \(kernel) and stride \(stride) must be >= 1, padding \(padding) >= 0", location: name)
    }
  }

  private static func check(channels: Int, are input: TensorShape, name: String) throws {
    guard channels == input.channels else {
      throw GraphError(.shapeMismatch, "takes \(channels) channels; its input is \(input)", location: name)
    }
  }

  private static func check(outputChannels: Int, name: String) throws {
    guard outputChannels >= 1 else {
      throw GraphError(.invalidArgument, "\(outputChannels) output channels; at least 1", location: name)
    }
  }

  private static func slide(
    _ input: TensorShape, _ kernel: Int, _ stride: Int, _ padding: Int, channels: Int, name: String
  ) throws -> TensorShape {
    guard let shape = input.slid(kernel: kernel, stride: stride, padding: padding, channels: channels) else {
      throw GraphError(
        .shapeMismatch, "a \(kernel)x\(kernel) window with padding \(padding) does not fit into \(input)",
        location: name)
    }
    return shape
  }
}
