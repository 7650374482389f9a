// The layout of what one training step reduces over all samples: the sum vector and the maxima vector.
//
// Sum vector, in Floats, every part aligned to 16 Floats with zero pads:
//   [ parameter gradients in ParameterLayout order | batch means | batch variances | loss sum, correct count ]
// Maxima vector (max-reduced), two Floats per observer: [ -minimum, maximum ].
//
// A function of the model alone, never of the cluster: that is what makes buckets, and with them the order of additions,
// the same everywhere.

/// Where each reduced quantity of a step stands, and in which buckets the sum vector travels.
public struct ReductionPlan: Sendable, Hashable {
  /// The places of one BatchNorm layer's batch statistics in the sum vector.
  public struct BatchNormSlot: Sendable, Hashable {
    /// Module path as torchvision has it, for example "layer1.0.bn1".
    public let name: String
    /// Number of channels C.
    public let channels: Int
    /// Index in the sum vector of the first of C batch means.
    public let meanOffset: Int
    /// Index in the sum vector of the first of C batch variances (unbiased, as PyTorch's running update takes them).
    public let varianceOffset: Int
  }

  /// Parts of the vector start at multiples of this many Floats.
  public static let alignment = 16
  /// A bucket of gradients is closed when it holds at least this many Floats (1 MiB).
  public static let minimumBucketCount = 262_144

  /// Number of Floats of the sum vector.
  public let sumCount: Int
  /// Gradients: 0..<ParameterLayout.count.
  public let parameterRange: Range<Int>
  /// BatchNorm layers in graph order.
  public let batchNorms: [BatchNormSlot]
  /// Means and variances of all BatchNorm layers, pads included.
  ///
  /// Running statistics are kept in a vector of this many Floats in this very order, so that one loop updates them.
  public let statisticsRange: Range<Int>
  /// Index of the sum over samples of the loss (not yet divided by the global batch).
  public let lossIndex: Int
  /// Index of the number of samples classified correctly; exact, because a batch has fewer than 2^24 samples.
  public let correctIndex: Int
  /// Element ranges of the sum vector in the order in which a step completes them: the tail (statistics and scalars, known
  /// after the forward pass) first, then gradients from the last layer to the first.
  public let buckets: [Range<Int>]
  /// Names of the fakeQuantize nodes in graph order; index i owns maxima 2i (-minimum) and 2i + 1 (maximum).
  public let observerNames: [String]

  /// Number of Floats of the maxima vector.
  public var maximumCount: Int { 2 * observerNames.count }

  /// Lays the vectors out.
  ///
  /// - Parameters:
  ///   - parameterCount: Floats of the flat parameter vector, pads included.
  ///   - parameterOffsets: ascending start of each parameter in it; buckets are cut only there.
  ///   - batchNorms: name and channels of each BatchNorm layer in graph order.
  ///   - observers: names of the fakeQuantize nodes in graph order.
  public init(
    parameterCount: Int, parameterOffsets: [Int], batchNorms: [(name: String, channels: Int)], observers: [String]
  ) {
    let parameterEnd = Self.aligned(parameterCount)
    parameterRange = 0..<parameterEnd
    let statisticsCount = batchNorms.reduce(0) { $0 + Self.aligned($1.channels) }
    var offset = parameterEnd
    self.batchNorms = batchNorms.map { name, channels in
      defer { offset += Self.aligned(channels) }
      return BatchNormSlot(
        name: name, channels: channels, meanOffset: offset, varianceOffset: offset + statisticsCount)
    }
    statisticsRange = parameterEnd..<(parameterEnd + 2 * statisticsCount)
    lossIndex = statisticsRange.upperBound
    correctIndex = lossIndex + 1
    sumCount = lossIndex + Self.alignment
    observerNames = observers
    buckets = [parameterEnd..<sumCount] + Self.gradientBuckets(offsets: parameterOffsets, end: parameterEnd)
  }

  /// The bucket whose completion the given parameter offset belongs to.
  public func bucket(containing offset: Int) -> Int? {
    buckets.firstIndex { $0.contains(offset) }
  }

  private static func gradientBuckets(offsets: [Int], end: Int) -> [Range<Int>] {
    var buckets: [Range<Int>] = []
    var upper = end
    for offset in offsets.reversed() where upper - offset >= minimumBucketCount || offset == 0 {
      buckets.append(offset..<upper)
      upper = offset
    }
    return buckets
  }

  private static func aligned(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }
}
