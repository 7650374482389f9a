// What a node computes. Attributes only; shapes are in Node, values are outside the graph.

/// A square 2-D convolution without dilation or groups.
///
/// Weights are [out][in][kernel][kernel] in torch order; for kernel order see `WeightOrder`.
public struct Convolution: Sendable, Hashable {
  /// Channels of the input.
  public var inputChannels: Int
  /// Channels of the output.
  public var outputChannels: Int
  /// Height and width of the window, pixels.
  public var kernel: Int
  /// Step of the window, pixels.
  public var stride: Int
  /// Zeros around the input on every side, pixels.
  public var padding: Int
  /// Whether a bias per output channel is added.
  public var hasBias: Bool
  /// How the weights are quantized before use; `nil` in the float phases.
  public var weightQuantization: WeightQuantization?

  /// Multiply-accumulates per output pixel.
  public var macsPerPixel: Int { kernel * kernel * inputChannels * outputChannels }
}

/// A fully connected layer over the channels of a 1x1 map.
///
/// Weights are [out][in] in torch order; for kernel order see `WeightOrder`.
public struct Linear: Sendable, Hashable {
  /// Channels of the input.
  public var inputChannels: Int
  /// Channels of the output.
  public var outputChannels: Int
  /// Whether a bias per output channel is added.
  public var hasBias: Bool
  /// How the weights are quantized before use; `nil` in the float phases.
  public var weightQuantization: WeightQuantization?
}

/// Normalization per channel over batch and space, with scale and shift.
public struct BatchNorm: Sendable, Hashable {
  /// Channels of input and output.
  public var channels: Int
  /// Added to the variance before the square root.
  public var epsilon: Float
  /// Weight of the newest batch in the running statistics (torch's meaning).
  public var momentum: Float
}

/// The largest value in a square window; padding counts as minus infinity.
public struct MaxPool: Sendable, Hashable {
  /// Height and width of the window, pixels.
  public var kernel: Int
  /// Step of the window, pixels.
  public var stride: Int
  /// Ignored border on every side, pixels.
  public var padding: Int
}

/// Quantizes and dequantizes an activation per tensor (Q/DQ); the node's name names its observer and scale.
public struct FakeQuantize: Sendable, Hashable {
  /// The integers the activation is rounded to.
  public var range: IntegerRange

  /// Makes the attribute; int8 -128...127 unless told.
  public init(range: IntegerRange = .int8) { self.range = range }
}

/// Quantizes the weights of a convolution or linear node, symmetric, zero point 0.
public struct WeightQuantization: Sendable, Hashable {
  /// How many scales there are.
  public enum Granularity: String, Sendable, Hashable, CaseIterable {
    /// One scale per output channel.
    case perChannel
    /// One scale for the whole tensor; such weights must be quantized after BatchNorm is folded.
    case perTensor
  }

  /// The integers the weights are rounded to.
  public var range: IntegerRange
  /// How many scales there are.
  public var granularity: Granularity

  /// Makes the attribute; per-channel int8 -127...127 unless told.
  public init(range: IntegerRange = .narrowInt8, granularity: Granularity = .perChannel) {
    self.range = range
    self.granularity = granularity
  }
}

/// What a node computes.
public enum Operation: Sendable, Hashable {
  /// The batch; exactly one per graph, always the first node.
  case input
  /// 2-D convolution; one input.
  case convolution(Convolution)
  /// Fully connected layer; one 1x1 input.
  case linear(Linear)
  /// Batch normalization; one input.
  case batchNorm(BatchNorm)
  /// max(x, 0); one input.
  case relu
  /// Elementwise sum of two inputs of one shape.
  case add
  /// Largest value of a window; one input.
  case maxPool(MaxPool)
  /// Mean over all pixels; one input, 1x1 output.
  case globalAveragePool
  /// Each pixel repeated factor x factor times; one input.
  case upsampleNearest(factor: Int)
  /// Q/DQ of an activation; one input.
  case fakeQuantize(FakeQuantize)

  /// The operation's name in messages and reports.
  public var name: String {
    switch self {
    case .input: "input"
    case .convolution: "convolution"
    case .linear: "linear"
    case .batchNorm: "batchNorm"
    case .relu: "relu"
    case .add: "add"
    case .maxPool: "maxPool"
    case .globalAveragePool: "globalAveragePool"
    case .upsampleNearest: "upsampleNearest"
    case .fakeQuantize: "fakeQuantize"
    }
  }

  /// Whether the node has a weight tensor that can be quantized.
  public var hasWeights: Bool {
    switch self {
    case .convolution, .linear: true
    default: false
    }
  }

  /// How the node's weights are quantized; `nil` for float weights and for operations without weights.
  public var weightQuantization: WeightQuantization? {
    get {
      switch self {
      case .convolution(let convolution): convolution.weightQuantization
      case .linear(let linear): linear.weightQuantization
      default: nil
      }
    }
    set {
      switch self {
      case .convolution(var convolution):
        convolution.weightQuantization = newValue
        self = .convolution(convolution)
      case .linear(var linear):
        linear.weightQuantization = newValue
        self = .linear(linear)
      default: precondition(newValue == nil, "\(name) has no weights to quantize")
      }
    }
  }
}
