// How sums travel: a bucket is cut into one chunk per rank, its owner, and a chunk into granules of at most 1 MiB. A frame carries one
// granule; to a peer that reads memory where it lies, it names as many as lie in a row, since nothing but the name is sent.

/// The granules of all buckets.
struct GranuleTable {
  private static let granuleCount = FrameHeader.maximumPayloadByteCount / 4

  /// The rank that adds up each granule.
  private(set) var owners: [Int] = []
  /// The elements of each granule.
  private(set) var ranges: [Range<Int>] = []
  /// By bucket, then by owner, then ascending; `first[bucket * worldSize + owner]` finds them.
  private var first: [Int] = []
  private let worldSize: Int

  var count: Int { ranges.count }

  init(buckets: [Range<Int>], worldSize: Int) {
    self.worldSize = worldSize
    for bucket in buckets {
      for owner in 0..<worldSize {
        first.append(ranges.count)
        let chunk = ReductionLayout.chunk(of: bucket, rank: owner, worldSize: worldSize)
        for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: Self.granuleCount) {
          owners.append(owner)
          ranges.append(start..<min(start + Self.granuleCount, chunk.upperBound))
        }
      }
    }
    first.append(ranges.count)
  }

  /// The granules that `owner` adds up in a bucket.
  func granules(bucket: Int, owner: Int) -> Range<Int> {
    let place = bucket * worldSize + owner
    return first[place]..<first[place + 1]
  }

  /// The elements of granules in a row; of none, none.
  func elements(of run: Range<Int>) -> Range<Int> {
    run.isEmpty ? 0..<0 : ranges[run.lowerBound].lowerBound..<ranges[run.upperBound - 1].upperBound
  }

  /// The granules that `count` elements from `offset` on are, whole and all of `owner`'s in the bucket; nil when they are not.
  func granules(bucket: Int, owner: Int, offset: UInt64, count: Int) -> Range<Int>? {
    let candidates = granules(bucket: bucket, owner: owner)
    let chunk = elements(of: candidates)
    guard count > 0, let offset = Int(exactly: offset), chunk.contains(offset), count <= chunk.upperBound - offset
    else { return nil }
    let (before, rest) = (offset - chunk.lowerBound).quotientAndRemainder(dividingBy: Self.granuleCount)
    let run = candidates.lowerBound + before..<candidates.lowerBound + before + (count - 1) / Self.granuleCount + 1
    return rest == 0 && elements(of: run) == offset..<offset + count ? run : nil
  }
}
