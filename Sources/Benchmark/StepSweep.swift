// How cost grows with work: steps at several image sizes and batches, `temper bench step --sweep`.

/// Measures steps over a grid of sizes and batches, one after the other so that only one job's memory is held.
public struct StepSweep: Sendable {
  /// Image sizes of the grid in pixels.
  public static let sizes = [32, 64, 128, 224]
  /// Batches of the grid.
  public static let batches = [8, 16, 32, 64, 128, 256]
  /// Pixels of the largest batch measured: 64 images of 224 x 224, whose FP32 step takes some gigabytes.
  public static let pixelLimit = 64 * 224 * 224

  /// The result of a sweep.
  public struct Result: Codable, Sendable, Hashable {
    /// A point of the grid relative to the best.
    public struct Share: Codable, Sendable, Hashable {
      /// Arithmetic of the steps.
      public let precision: StepBenchmark.Precision
      /// The largest GFLOP/s over the grid.
      public let bestGigaflopsPerSecond: Double
      /// The smallest GFLOP/s over the grid as a share of the largest.
      public let worstShareOfBest: Double
      /// Size and batch of the smallest.
      public let worstSize: Int
      /// Batch of the smallest.
      public let worstBatch: Int
    }

    /// Which measurement this is.
    public let benchmark: String
    /// One result per point of the grid.
    public let points: [StepBenchmark.Result]
    /// How even the cost per work is, by precision.
    public let evenness: [Share]
  }

  private let options: StepBenchmark.Options

  /// Prepares a sweep; size, batch and shards of the options are replaced by those of the grid.
  public init(_ options: StepBenchmark.Options) { self.options = options }

  /// Measures every point; shards are halved where one would leave BatchNorm a single value per channel.
  ///
  /// - Parameter progress: called before every point.
  /// - Throws: as `StepBenchmark.run`.
  public func run(progress: (_ size: Int, _ batch: Int) -> Void = { _, _ in }) throws -> Result {
    var points: [StepBenchmark.Result] = []
    for size in Self.sizes {
      for batch in Self.batches where size * size * batch <= Self.pixelLimit {
        progress(size, batch)
        var point = options
        (point.size, point.batch) = (size, batch)
        point.virtualShards = Self.virtualShards(size: size, batch: batch)
        points.append(try StepBenchmark(point).run())
      }
    }
    return Result(
      benchmark: "step sweep", points: points,
      evenness: options.precisions.compactMap { Self.evenness(of: $0, points) })
  }

  /// At most 8, such that the last stage, 1/32 of the image in each direction, has two values per channel and shard.
  static func virtualShards(size: Int, batch: Int) -> Int {
    let side = (size + 31) / 32
    var shards = 8
    while shards > 1, batch / shards * side * side < 2 { shards /= 2 }
    return shards
  }

  private static func evenness(
    of precision: StepBenchmark.Precision, _ points: [StepBenchmark.Result]
  ) -> Result.Share? {
    let speeds = points.compactMap { point in
      point.phases.first { $0.precision == precision }.map { (point: point, speed: $0.gigaflopsPerSecond) }
    }
    guard let best = speeds.map(\.speed).max(), let worst = speeds.min(by: { $0.speed < $1.speed }) else { return nil }
    return Result.Share(
      precision: precision, bestGigaflopsPerSecond: best, worstShareOfBest: worst.speed / best,
      worstSize: worst.point.size, worstBatch: worst.point.batch)
  }
}
