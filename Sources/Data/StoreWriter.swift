// Writes a store: samples go in, chunks of about 2 MiB come out, the manifest comes last, a rename makes it visible.

import Foundation

/// Writes one store.
///
/// Not thread-safe: one owner appends samples. Nothing is visible at the target until `finish`; a writer that is
/// dropped before removes what it wrote.
public final class StoreWriter {
  private let target: String
  private let aside: String
  private var manifest: StoreManifest
  private var pending: [Split: Chunk] = [:]
  private let samplesPerChunk: Int
  private var isFinished = false

  /// Starts a store.
  ///
  /// - Parameters:
  ///   - height: pixels.
  ///   - width: pixels.
  ///   - channels: per pixel.
  ///   - directory: Where the store shall be; must not exist, its parent is created.
  ///   - name: Name of the data set, for people.
  ///   - classNames: Class names in label order.
  /// - Throws: `DataError` `.unwritable` when the directory exists or cannot be made.
  public init(
    directory: String, name: String, height: Int, width: Int, channels: Int, classNames: [String]
  ) throws(DataError) {
    let counts = Array(repeating: 0, count: classNames.count)
    manifest = StoreManifest(
      name: name, height: height, width: width, channels: channels, classNames: classNames,
      train: .init(chunks: [], classCounts: counts), test: .init(chunks: [], classCounts: counts), identity: "")
    target = directory
    aside = directory + ".partial"
    samplesPerChunk = min(Chunk.sampleLimit, max(1, Chunk.targetByteCount / (height * width * channels)))
    guard !FileAccess.exists(target) else {
      throw DataError(
        code: .unwritable, message: "something is here already", hint: "remove it or choose another directory",
        location: target)
    }
    try FileAccess.remove(aside)
    try FileAccess.createDirectory(aside)
  }

  deinit {
    // A second failure here has nobody to tell: the first one was thrown, and the next writer removes the leftovers.
    if !isFinished { try? FileAccess.remove(aside) }
  }

  /// Appends samples to a split, in order.
  ///
  /// - Parameters:
  ///   - split: the split they belong to.
  ///   - samples: Labels below the class count and their pixels, NHWC.
  /// - Throws: `DataError` `.unsuitable` for labels or sizes that do not fit, `.unwritable` when a chunk cannot be
  ///   written.
  public func append(_ samples: Chunk, to split: Split) throws(DataError) {
    let sampleByteCount = manifest.sampleByteCount
    guard samples.pixels.count == samples.labels.count * sampleByteCount else {
      throw DataError(
        code: .unsuitable,
        message: "\(samples.pixels.count) bytes for \(samples.labels.count) images of \(sampleByteCount)",
        location: target)
    }
    for (offset, label) in samples.labels.enumerated() {
      guard Int(label) < manifest.classNames.count else {
        throw DataError(
          code: .unsuitable,
          message: "label \(label) of sample \(offset); there are \(manifest.classNames.count) classes",
          location: target)
      }
    }
    var next = 0
    while next < samples.labels.count {
      let waiting = pending[split]?.labels.count ?? 0
      let taken = min(samplesPerChunk - waiting, samples.labels.count - next)
      let labels = samples.labels[next..<(next + taken)]
      let pixels = samples.pixels[(next * sampleByteCount)..<((next + taken) * sampleByteCount)]
      if waiting == 0 {
        pending[split] = Chunk(labels: Array(labels), pixels: Array(pixels))
      } else {
        pending[split]?.labels += labels
        pending[split]?.pixels += pixels
      }
      next += taken
      if waiting + taken == samplesPerChunk { try flush(split) }
    }
  }

  /// Writes what is left, then the manifest, and makes the store visible.
  ///
  /// - Throws: `DataError` `.unwritable`; the store is then absent.
  public func finish() throws(DataError) -> Store {
    for split in Split.allCases { try flush(split) }
    manifest.identity = manifest.contentHash()
    try FileAccess.write(manifest.encoded(), to: "\(aside)/\(Store.manifestFile)")
    try FileAccess.move(aside, to: target)
    isFinished = true
    return Store(directory: target, manifest: manifest)
  }

  private func flush(_ split: Split) throws(DataError) {
    guard let chunk = pending.removeValue(forKey: split) else { return }
    var entry = manifest[split]
    let number = String(entry.chunks.count)
    let padded = String(repeating: "0", count: max(0, 5 - number.count)) + number
    let file = "\(split.rawValue)-\(padded).chunk"
    let bytes = chunk.encoded()
    try FileAccess.write(bytes, to: "\(aside)/\(file)")
    entry.chunks.append(
      .init(
        file: file, byteCount: bytes.count, crc32: Chunk.storedChecksum(bytes), sampleCount: chunk.labels.count))
    for label in chunk.labels { entry.classCounts[Int(label)] += 1 }
    switch split {
    case .train: manifest.train = entry
    case .test: manifest.test = entry
    }
  }
}
