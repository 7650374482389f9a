// The shape of one convolution, of one sample.

/// The shape of a convolution with square stride and equal padding on all sides; a linear layer is 1x1 on a 1x1 image.
///
/// All lengths are in pixels or channels and at least 1, `padding` at least 0. Dilation and groups are not covered.
public struct ConvolutionGeometry: Sendable, Hashable {
  /// Rows of the input image.
  public let inputHeight: Int
  /// Columns of the input image.
  public let inputWidth: Int
  /// Channels of the input, the letter C.
  public let inputChannels: Int
  /// Rows of the kernel.
  public let kernelHeight: Int
  /// Columns of the kernel.
  public let kernelWidth: Int
  /// Step between output pixels, in both directions.
  public let stride: Int
  /// Zero pixels added on each of the four sides.
  public let padding: Int
  /// Channels of the output, the letter K.
  public let outputChannels: Int

  /// Makes a shape; stops if the kernel does not fit into the padded input or a length is out of its range.
  public init(
    inputHeight: Int, inputWidth: Int, inputChannels: Int, kernelHeight: Int, kernelWidth: Int, stride: Int,
    padding: Int, outputChannels: Int
  ) {
    self.inputHeight = inputHeight
    self.inputWidth = inputWidth
    self.inputChannels = inputChannels
    self.kernelHeight = kernelHeight
    self.kernelWidth = kernelWidth
    self.stride = stride
    self.padding = padding
    self.outputChannels = outputChannels
    precondition(
      inputChannels >= 1 && outputChannels >= 1 && kernelHeight >= 1 && kernelWidth >= 1 && stride >= 1 && padding >= 0
        && inputHeight + 2 * padding >= kernelHeight && inputWidth + 2 * padding >= kernelWidth,
      "convolution shape out of range: \(self)")
  }

  /// A linear layer: `inputChannels` to `outputChannels`, one pixel per sample.
  public static func linear(inputChannels: Int, outputChannels: Int) -> ConvolutionGeometry {
    ConvolutionGeometry(
      inputHeight: 1, inputWidth: 1, inputChannels: inputChannels, kernelHeight: 1, kernelWidth: 1, stride: 1,
      padding: 0, outputChannels: outputChannels)
  }

  /// Rows of the output image.
  public var outputHeight: Int { (inputHeight + 2 * padding - kernelHeight) / stride + 1 }
  /// Columns of the output image.
  public var outputWidth: Int { (inputWidth + 2 * padding - kernelWidth) / stride + 1 }
  /// Kernel height x kernel width, the letter T.
  public var taps: Int { kernelHeight * kernelWidth }
  /// Floats of one input sample.
  public var inputCount: Int { inputHeight * inputWidth * inputChannels }
  /// Floats of one output sample.
  public var outputCount: Int { outputHeight * outputWidth * outputChannels }
  /// Floats of the weights, [kernelHeight][kernelWidth][C][K].
  public var weightCount: Int { taps * inputChannels * outputChannels }
  /// Multiply-adds of one sample's forward pass, padding included.
  public var multiplyAddsPerSample: Int { outputHeight * outputWidth * weightCount }
}

/// A complete, aligned subtree of virtual shards that one worker holds: shards [firstLocalShard, firstLocalShard +
/// shardCount).
///
/// `shardCount` is a power of two. Numbers are local to the buffers handed to the kernel (its shard 0 is the first
/// held).
public struct ShardPiece: Sendable, Hashable {
  /// First shard, counted from the start of the caller's buffers.
  public let firstLocalShard: Int
  /// How many shards, a power of two.
  public let shardCount: Int
  /// 0 sums in float; otherwise leaves and every node of the tree are rounded to fp16(value * halfScale) / halfScale.
  public let halfScale: Float

  /// Makes a piece; stops unless `shardCount` is a power of two from 1 to 64.
  ///
  /// - Parameter halfScale: 0 or a power of two.
  public init(firstLocalShard: Int, shardCount: Int, halfScale: Float = 0) {
    precondition(
      firstLocalShard >= 0 && (1...64).contains(shardCount) && shardCount & (shardCount - 1) == 0,
      "a shard piece takes a power of two of shards up to 64, not \(shardCount) from \(firstLocalShard)")
    self.firstLocalShard = firstLocalShard
    self.shardCount = shardCount
    self.halfScale = halfScale
  }
}
