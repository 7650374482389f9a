// Builds an in-memory data set from chunks that arrive in any order, from a disk or from the network.

/// The place of a chunk in a store.
public struct ChunkAddress: Sendable, Hashable {
  /// Split of the chunk.
  public var split: Split
  /// Index in the split's chunk list.
  public var index: Int

  /// Makes an address.
  public init(split: Split, index: Int) {
    self.split = split
    self.index = index
  }
}

/// Collects the chunks of one store until the data set is complete.
///
/// Not thread-safe: one owner adds chunks. A chunk that is refused changes nothing, so it can be fetched again.
public final class DatasetAssembler {
  /// The store that is assembled.
  public let manifest: StoreManifest
  /// Chunks not added yet, in the order of the store.
  public private(set) var missing: [ChunkAddress]
  private let sets: [Split: SampleSet]
  private let firstSamples: [Split: [Int]]

  /// Prepares memory for a data set; pages are committed as chunks arrive.
  ///
  /// - Parameter manifest: A checked manifest, from `StoreManifest.decode` or a store.
  public init(manifest: StoreManifest) {
    self.manifest = manifest
    var missing: [ChunkAddress] = []
    var sets: [Split: SampleSet] = [:]
    var firstSamples: [Split: [Int]] = [:]
    for split in Split.allCases {
      let entry = manifest[split]
      sets[split] = SampleSet(
        count: entry.sampleCount, height: manifest.height, width: manifest.width, channels: manifest.channels,
        classCount: manifest.classNames.count)
      var next = 0
      firstSamples[split] = entry.chunks.map { chunk in
        defer { next += chunk.sampleCount }
        return next
      }
      missing += entry.chunks.indices.map { ChunkAddress(split: split, index: $0) }
    }
    self.missing = missing
    self.sets = sets
    self.firstSamples = firstSamples
  }

  /// Adds one chunk; one that is already there is checked and ignored.
  ///
  /// - Parameters:
  ///   - bytes: The encoded chunk.
  ///   - address: Where it belongs.
  ///   - location: File or peer, for messages; the chunk's file name by default.
  /// - Throws: `DataError` `.damaged` when the bytes are not the chunk that the manifest describes.
  public func add(_ bytes: [UInt8], at address: ChunkAddress, location: String? = nil) throws(DataError) {
    let chunks = manifest[address.split].chunks
    guard chunks.indices.contains(address.index), let set = sets[address.split],
      let firsts = firstSamples[address.split]
    else {
      throw DataError(
        code: .damaged, message: "chunk \(address.index) of \(chunks.count)", location: address.split.rawValue)
    }
    let entry = chunks[address.index]
    let location = location ?? entry.file
    guard bytes.count == entry.byteCount else {
      throw DataError(
        code: .damaged, message: "\(bytes.count) bytes; the manifest says \(entry.byteCount)",
        hint: "fetch or make the chunk again", location: location)
    }
    let chunk = try Chunk.decode(bytes, location: location)
    let checksum = Chunk.storedChecksum(bytes)
    guard checksum == entry.crc32, chunk.labels.count == entry.sampleCount else {
      throw DataError(
        code: .damaged,
        message: "CRC-32 is \(Chunk.hexadecimal(checksum)), the manifest says \(Chunk.hexadecimal(entry.crc32))",
        hint: "fetch the chunk of this store, or make the store again", location: location)
    }
    if let label = chunk.labels.first(where: { Int($0) >= manifest.classNames.count }) {
      throw DataError(
        code: .damaged, message: "label \(label) of \(manifest.classNames.count) classes", location: location)
    }
    guard let position = missing.firstIndex(of: address) else { return }
    set.write(chunk, at: firsts[address.index])
    missing.remove(at: position)
  }

  /// The data set.
  ///
  /// - Throws: `DataError` `.damaged` while chunks are missing or when labels do not add up to the class counts.
  public func finish() throws(DataError) -> InMemoryDataset {
    guard missing.isEmpty, let train = sets[.train], let test = sets[.test] else {
      throw DataError(
        code: .damaged, message: "\(missing.count) chunks are missing", location: manifest.name)
    }
    let dataset = InMemoryDataset(manifest: manifest, train: train, test: test)
    for split in Split.allCases {
      var counts = Array(repeating: 0, count: manifest.classNames.count)
      for label in dataset[split].labels { counts[Int(label)] += 1 }
      guard counts == manifest[split].classCounts else {
        throw DataError(
          code: .damaged,
          message: "classes of the \(split.rawValue) split have \(counts) samples; "
            + "the manifest says \(manifest[split].classCounts)", location: manifest.name)
      }
    }
    return dataset
  }
}
