// The table of contents of a store: geometry, classes, and the chunks of each split with their checksums.

/// Part of a data set.
public enum Split: String, Sendable, Hashable, Codable, CaseIterable {
  case train, test
}

/// The table of contents of a store, as in its `manifest.json`.
///
/// A manifest and the chunks it names are the whole data set; both may come from a disk or from a peer. A decoded
/// manifest is checked: sizes are sane, counts add up, file names are plain, and `identity` matches the contents.
public struct StoreManifest: Sendable, Hashable, Codable {
  /// Format version that this code reads and writes.
  public static let formatVersion = 1

  /// Format version of the store.
  public internal(set) var formatVersion = StoreManifest.formatVersion
  /// Name of the data set, for people.
  public internal(set) var name: String
  /// Rows of an image.
  public internal(set) var height: Int
  /// Columns of an image.
  public internal(set) var width: Int
  /// Interleaved channels of a pixel.
  public internal(set) var channels: Int
  /// Bits per channel value; 8.
  public internal(set) var bitDepth = 8
  /// Class names in label order.
  public internal(set) var classNames: [String]
  /// The training split.
  public internal(set) var train: SplitEntry
  /// The test split.
  public internal(set) var test: SplitEntry
  /// 64-bit hash, as 16 hexadecimal digits, of everything above; chunk checksums make it cover labels and pixels.
  public internal(set) var identity: String

  /// One split: its chunks in sample order.
  public struct SplitEntry: Sendable, Hashable, Codable {
    /// The chunks in sample order.
    public internal(set) var chunks: [ChunkEntry]
    /// Samples per class, in label order.
    public internal(set) var classCounts: [Int]

    /// Samples of the split.
    public var sampleCount: Int { chunks.reduce(0) { $0 + $1.sampleCount } }
  }

  /// One chunk.
  public struct ChunkEntry: Sendable, Hashable, Codable {
    /// File name inside the store's directory.
    public internal(set) var file: String
    /// Length of the file.
    public internal(set) var byteCount: Int
    /// CRC-32 (zlib's) of the file without its last four bytes, which repeat it.
    public internal(set) var crc32: UInt32
    /// Samples in the chunk.
    public internal(set) var sampleCount: Int
  }

  /// Bytes of one image: height * width * channels.
  public var sampleByteCount: Int { height * width * channels }

  /// The entry of a split.
  public subscript(split: Split) -> SplitEntry {
    switch split {
    case .train: train
    case .test: test
    }
  }
}
