// The layout of what one training step reduces over all samples: the sum vector and the maxima vector.
//
// Sum vector, in Floats, every part aligned to 16 Floats with zero pads:
//   [ parameter gradients in ParameterLayout order | batch means and variances in ParameterLayout's buffer order
//   | loss sum, correct count ]
// Maxima vector (max-reduced), two Floats per observer: [ -minimum, maximum ].
//
// A function of the model alone, never of the cluster: that is what makes buckets, and with them the order of additions,
// the same everywhere.

public import Graph

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

  /// A bucket of gradients is closed when it holds at least this many Floats (1 MiB).
  public static let minimumBucketCount = 262_144
  /// Floats of the last part: loss sum, correct count and pads.
  private static let scalarCount = 16

  /// Number of Floats of the sum vector.
  public let sumCount: Int
  /// Gradients: 0..<ParameterLayout.parameterElementCount.
  public let parameterRange: Range<Int>
  /// Batch statistics of all BatchNorm layers in the order of ParameterLayout's buffer vector.
  ///
  /// Running statistics are kept in that same order, so that one loop updates them.
  public let statisticsRange: Range<Int>
  /// BatchNorm layers in graph order.
  public let batchNorms: [BatchNormSlot]
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
  ///   - graph: the graph of the quantized phase, whose fakeQuantize nodes are the observers; the float graph where a job
  ///     has no quantized phase. Parameters and buffers are the same in both.
  ///   - layout: the layout of that graph's parameters.
  public init(graph: Graph, layout: ParameterLayout) {
    let parameterEnd = layout.parameterElementCount
    parameterRange = 0..<parameterEnd
    statisticsRange = parameterEnd..<(parameterEnd + layout.bufferElementCount)
    lossIndex = statisticsRange.upperBound
    correctIndex = lossIndex + 1
    sumCount = lossIndex + Self.scalarCount
    batchNorms = graph.nodes.compactMap { node in
      guard let mean = layout.buffer(named: "\(node.name).running_mean"),
        let variance = layout.buffer(named: "\(node.name).running_var")
      else { return nil }
      return BatchNormSlot(
        name: node.name, channels: mean.elementCount, meanOffset: parameterEnd + mean.offset,
        varianceOffset: parameterEnd + variance.offset)
    }
    observerNames = graph.nodes.compactMap { node in
      if case .fakeQuantize = node.operation { node.name } else { nil }
    }
    buckets =
      [parameterEnd..<sumCount] + Self.gradientBuckets(offsets: layout.parameters.map(\.offset), end: parameterEnd)
  }

  /// The bucket that holds this element of the sum vector.
  public func bucket(containing element: Int) -> Int? {
    buckets.firstIndex { $0.contains(element) }
  }

  /// Cuts 0..<end at parameter starts, from the end to the front, into ranges of at least `minimumBucketCount`; the last one
  /// may be smaller.
  private static func gradientBuckets(offsets: [Int], end: Int) -> [Range<Int>] {
    var buckets: [Range<Int>] = []
    var upper = end
    for offset in offsets.reversed() where upper - offset >= minimumBucketCount || offset == 0 {
      buckets.append(offset..<upper)
      upper = offset
    }
    return buckets
  }
}
