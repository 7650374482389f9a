// The `model` and `quantization` sections.

extension JobSpec {
  /// The network.
  public struct Model: Sendable, Hashable {
    /// Depth of the residual network.
    public var architecture = Architecture.resnet18
    /// Multiplier of the widths 64, 128, 256, 512.
    public var width = 1.0
    /// First layers.
    public var stem = Stem.imagenet
    /// Stride of the small stem's convolution.
    public var stemStride = 1
    /// Starting weights.
    public var initialize = Initialization.random

    /// Makes the defaults: torchvision's ResNet-18.
    public init() {}

    /// Depth of the residual network.
    public enum Architecture: String, Sendable, CaseIterable { case resnet10, resnet18 }
    /// First layers: 7x7 stride 2 and max pool, or one 3x3 convolution.
    public enum Stem: String, Sendable, CaseIterable { case imagenet, small }
    /// Starting weights: random, or a safetensors file with torchvision's names.
    public enum Initialization: Sendable, Hashable { case random, file(String) }

    /// Channels of the four stages: 64, 128, 256, 512 times `width`, rounded to the nearest integer.
    public var channels: [Int] { [64.0, 128, 256, 512].map { Int(($0 * width).rounded()) } }
  }

  /// Fake-quantization: when it starts, what is observed and how.
  public struct Quantization: Sendable, Hashable {
    /// Whether the job has a quantized phase.
    public var enabled = true
    /// First epoch with fake-quantization, counted from 1.
    public var startEpoch = 4
    /// Training batches that set the first scales on entering the quantized phase.
    public var calibrationBatches = 4
    /// Weights.
    public var weights = Weights()
    /// Activations.
    public var activations = Activations()
    /// First epoch with frozen observers, counted from 1; 0 is never.
    public var freezeObserversEpoch = 0
    /// First epoch with frozen BatchNorm statistics, counted from 1; 0 is never.
    public var freezeBatchNormEpoch = 0
    /// Whether the last linear layer is quantized too.
    public var quantizeHead = false

    /// Makes the defaults.
    public init() {}

    /// Quantization of weights.
    public struct Weights: Sendable, Hashable {
      /// Bits per weight.
      public var bits = 8
      /// One scale per output channel or one per tensor.
      public var granularity = Granularity.perChannel
      /// Whether the range is -127...127 rather than -128...127 (for 8 bits).
      public var narrowRange = true

      /// Makes the defaults.
      public init() {}

      /// Extent of one scale.
      public enum Granularity: String, Sendable, CaseIterable { case perChannel, perTensor }
    }

    /// Quantization of activations.
    public struct Activations: Sendable, Hashable {
      /// Bits per activation.
      public var bits = 8
      /// Rule that follows the range.
      public var observer = Observer.movingAverage
      /// Weight c of the newest batch in the moving average.
      public var momentum = 0.01

      /// Makes the defaults.
      public init() {}

      /// Rule that follows the range.
      public enum Observer: String, Sendable, CaseIterable { case movingAverage, minMax }
    }
  }
}
