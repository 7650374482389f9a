// What is reduced in one step, and in which buckets: a function of the model alone, never of timing or of the cluster.
// (A layout that follows timing makes sums differ between runs; EasyScale had to record PyTorch's for that reason.)

/// The sum vector of one step cut into buckets in the order in which backward completes them, and the number of maxima.
public struct ReductionLayout: Sendable, Hashable {
  /// Floats in the sum vector: gradients, BatchNorm statistics, loss and counts.
  public let sumCount: Int
  /// Element ranges of the sum vector; together they cover it once, in any order.
  ///
  /// Buckets of 1 to 4 MiB overlap best.
  public let buckets: [Range<Int>]
  /// Floats in the vector of which the maximum over ranks is taken; at most `maximumLimit`.
  public let maximumCount: Int
  /// The first floats of the sum vector, which must be finite and may travel as halves; see `holdsGradients`.
  public let gradientCount: Int

  /// The most maxima in a step: they travel in one frame.
  public static let maximumLimit = FrameHeader.maximumPayloadByteCount / 4

  /// Checks and makes a layout.
  ///
  /// - Throws: `CommunicationError.Code.misuse` when the buckets do not cover the vector exactly once, or there are too many maxima.
  public init(sumCount: Int, buckets: [Range<Int>], maximumCount: Int, gradientCount: Int = 0) throws {
    var next = 0
    for bucket in buckets.sorted(by: { $0.lowerBound < $1.lowerBound }) where !bucket.isEmpty {
      guard bucket.lowerBound == next else {
        throw CommunicationError(.misuse, "bucket \(bucket) should begin at element \(next) of the sum vector")
      }
      next = bucket.upperBound
    }
    guard next == sumCount else {
      throw CommunicationError(.misuse, "buckets end at element \(next); the sum vector has \(sumCount)")
    }
    guard maximumCount >= 0, maximumCount <= Self.maximumLimit else {
      throw CommunicationError(.misuse, "\(maximumCount) maxima; one frame takes at most \(Self.maximumLimit)")
    }
    self.sumCount = sumCount
    self.buckets = buckets
    self.maximumCount = maximumCount
    self.gradientCount = gradientCount
  }

  /// Whether all of a bucket is gradients.
  func holdsGradients(bucket: Int) -> Bool { buckets[bucket].upperBound <= gradientCount }

  /// Joins consecutive segments (a parameter each, say) into buckets of at least `byteCount` bytes, keeping their order.
  ///
  /// Segments that do not touch the one before start a bucket of their own, so give them in the order of completion.
  public static func buckets(joining segments: [Range<Int>], atLeast byteCount: Int = 2 << 20) -> [Range<Int>] {
    var buckets: [Range<Int>] = []
    var current: Range<Int>?
    for segment in segments where !segment.isEmpty {
      if let open = current, open.count * 4 < byteCount {
        if segment.upperBound == open.lowerBound {
          current = segment.lowerBound..<open.upperBound
          continue
        } else if segment.lowerBound == open.upperBound {
          current = open.lowerBound..<segment.upperBound
          continue
        }
      }
      if let open = current { buckets.append(open) }
      current = segment
    }
    if let open = current { buckets.append(open) }
    return buckets
  }

  /// The part of a bucket that a rank owns: equal parts, cut at multiples of 16 elements, the remainder to the last ranks with any.
  static func chunk(of bucket: Range<Int>, rank: Int, worldSize: Int) -> Range<Int> {
    let blocks = (bucket.count + 15) / 16
    let from = min(bucket.count, blocks * rank / worldSize * 16)
    let to = min(bucket.count, blocks * (rank + 1) / worldSize * 16)
    return bucket.lowerBound + from..<bucket.lowerBound + to
  }
}
