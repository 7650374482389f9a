// A data set in memory: what training reads. Immutable once assembled, so any thread may read it.

/// Labels and pixels of one split.
///
/// `@unchecked Sendable` because the buffers are written only before the value leaves `DatasetAssembler`.
public final class SampleSet: @unchecked Sendable {
  /// Samples.
  public let count: Int
  /// Rows of an image.
  public let height: Int
  /// Columns of an image.
  public let width: Int
  /// Interleaved channels of a pixel.
  public let channels: Int
  /// Classes of the data set.
  public let classCount: Int
  private let pixelBuffer: UnsafeMutableBufferPointer<UInt8>
  private let labelBuffer: UnsafeMutableBufferPointer<UInt16>

  /// Bytes of one image: height * width * channels.
  public var sampleByteCount: Int { height * width * channels }

  init(count: Int, height: Int, width: Int, channels: Int, classCount: Int) {
    self.count = count
    self.height = height
    self.width = width
    self.channels = channels
    self.classCount = classCount
    // Left uninitialized, so that memory is committed as samples arrive: a set is handed out only when all are written.
    pixelBuffer = .allocate(capacity: count * height * width * channels)
    labelBuffer = .allocate(capacity: count)
  }

  deinit {
    pixelBuffer.deallocate()
    labelBuffer.deallocate()
  }

  /// Makes a split from arrays, for tests and tools.
  ///
  /// - Parameters:
  ///   - height: pixels.
  ///   - width: pixels.
  ///   - channels: per pixel.
  ///   - classCount: labels are in 0..<classCount.
  ///   - pixels: [labels.count, height, width, channels] bytes.
  ///   - labels: Labels in 0..<classCount.
  public convenience init(
    pixels: [UInt8], labels: [UInt16], height: Int, width: Int, channels: Int, classCount: Int
  ) {
    precondition(
      pixels.count == labels.count * height * width * channels,
      "\(pixels.count) bytes for \(labels.count) images of \(height) x \(width) x \(channels)")
    precondition(labels.allSatisfy { Int($0) < classCount }, "a label is not below \(classCount)")
    self.init(count: labels.count, height: height, width: width, channels: channels, classCount: classCount)
    write(Chunk(labels: labels, pixels: pixels), at: 0)
  }

  /// The label of a sample.
  public func label(_ index: Int) -> Int {
    Int(labelBuffer[checked(index)])
  }

  /// The pixels of a sample: height * width * channels bytes, NHWC; valid while the set lives.
  public func pixels(_ index: Int) -> UnsafePointer<UInt8> {
    // The base address of an empty buffer may be nil; `checked` has already refused every index then.
    guard let base = pixelBuffer.baseAddress else { preconditionFailure("a set without samples has no pixels") }
    return UnsafePointer(base + checked(index) * sampleByteCount)
  }

  /// All labels, in sample order.
  public var labels: [Int32] { labelBuffer.map(Int32.init) }

  /// Copies a chunk to samples `start..<start + chunk.labels.count`, once each.
  func write(_ chunk: Chunk, at start: Int) {
    guard !chunk.labels.isEmpty else { return }
    _ = checked(start)
    _ = checked(start + chunk.labels.count - 1)
    _ = labelBuffer[start...].initialize(fromContentsOf: chunk.labels)
    _ = pixelBuffer[(start * sampleByteCount)...].initialize(fromContentsOf: chunk.pixels)
  }

  private func checked(_ index: Int) -> Int {
    precondition(index >= 0 && index < count, "sample \(index) of \(count)")
    return index
  }
}

/// A whole data set in memory.
public final class InMemoryDataset: Sendable {
  /// What was assembled.
  public let manifest: StoreManifest
  /// The training split.
  public let train: SampleSet
  /// The test split.
  public let test: SampleSet

  init(manifest: StoreManifest, train: SampleSet, test: SampleSet) {
    self.manifest = manifest
    self.train = train
    self.test = test
  }

  /// Class names in label order.
  public var classNames: [String] { manifest.classNames }

  /// One split.
  public subscript(split: Split) -> SampleSet {
    switch split {
    case .train: train
    case .test: test
    }
  }
}
