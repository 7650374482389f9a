// What is learned (parameters) and what is only tracked (buffers), named as in a torchvision state dict.

/// One learned tensor of a graph.
public struct Parameter: Sendable, Hashable {
  /// What a parameter is to its node.
  public enum Kind: String, Sendable, Hashable {
    /// Weights of a convolution or linear node: the only kind with weight decay.
    case weight
    /// Bias of a convolution or linear node.
    case bias
    /// Gamma of a BatchNorm, torch's `weight`.
    case batchNormScale
    /// Beta of a BatchNorm, torch's `bias`.
    case batchNormShift
  }

  /// "layer1.0.conv1.weight".
  public let name: String
  /// The node that uses it.
  public let node: NodeID
  /// What it is to its node.
  public let kind: Kind
  /// Shape in torch order: [out, in, kernel, kernel], [out, in] or [channels].
  public let torchShape: [Int]

  /// Values in it.
  public var elementCount: Int { torchShape.reduce(1, *) }
  /// Whether weight decay applies; never to biases and BatchNorm.
  public var hasWeightDecay: Bool { kind == .weight }
  /// Inputs that feed one output value: in x kernel x kernel; 1 for vectors.
  public var fanIn: Int { torchShape.dropFirst().reduce(1, *) }
  /// Output values that one input feeds: out x kernel x kernel, torchvision's Kaiming "fan_out".
  public var fanOut: Int { torchShape.dropFirst(2).reduce(torchShape[0], *) }
  /// How the flat vector orders it.
  public var weightOrder: WeightOrder { WeightOrder(torchShape: torchShape) }
}

/// One tracked tensor of a graph: not learned, but part of the state.
public struct Buffer: Sendable, Hashable {
  /// What a buffer tracks.
  public enum Kind: String, Sendable, Hashable {
    /// Running mean of a BatchNorm; starts at 0.
    case runningMean
    /// Running variance of a BatchNorm (unbiased, as torch's); starts at 1.
    case runningVariance
  }

  /// "layer1.0.bn1.running_mean".
  public let name: String
  /// The node that uses it.
  public let node: NodeID
  /// What it tracks.
  public let kind: Kind
  /// Values in it, one per channel.
  public let elementCount: Int
}

extension Graph {
  /// Everything that is learned, in graph order, weight before bias.
  public var parameters: [Parameter] {
    nodes.flatMap { node -> [Parameter] in
      func parameter(_ suffix: String, _ kind: Parameter.Kind, _ shape: [Int]) -> Parameter {
        Parameter(name: "\(node.name).\(suffix)", node: node.id, kind: kind, torchShape: shape)
      }
      switch node.operation {
      case .convolution(let convolution):
        let shape = [
          convolution.outputChannels, convolution.inputChannels, convolution.kernel, convolution.kernel,
        ]
        let weight = parameter("weight", .weight, shape)
        return convolution.hasBias ? [weight, parameter("bias", .bias, [convolution.outputChannels])] : [weight]
      case .linear(let linear):
        let weight = parameter("weight", .weight, [linear.outputChannels, linear.inputChannels])
        return linear.hasBias ? [weight, parameter("bias", .bias, [linear.outputChannels])] : [weight]
      case .batchNorm(let batchNorm):
        return [
          parameter("weight", .batchNormScale, [batchNorm.channels]),
          parameter("bias", .batchNormShift, [batchNorm.channels]),
        ]
      default: return []
      }
    }
  }

  /// Everything that is tracked but not learned, in graph order, mean before variance.
  public var buffers: [Buffer] {
    nodes.flatMap { node -> [Buffer] in
      guard case .batchNorm(let batchNorm) = node.operation else { return [] }
      return [
        Buffer(
          name: "\(node.name).running_mean", node: node.id, kind: .runningMean, elementCount: batchNorm.channels),
        Buffer(
          name: "\(node.name).running_var", node: node.id, kind: .runningVariance, elementCount: batchNorm.channels),
      ]
    }
  }
}
