// Imports MNIST's IDX files, plain or gzip, into a store.
// Format: http://yann.lecun.com/exdb/mnist: two zero bytes, type 0x08 (uint8), the number of dimensions, then each
// dimension as a big-endian UInt32, then the values.

/// Imports the four IDX files of an MNIST-like set.
public enum IDXImporter {
  /// Most bytes that one inflated file may have.
  static let byteLimit = 4 << 30

  /// One IDX file in memory.
  struct Array8 {
    var dimensions: [Int]
    var values: ArraySlice<UInt8>

    /// Rows x columns, for messages.
    var imageSize: String { dimensions.dropFirst().map { "\($0)" }.joined(separator: " x ") }
  }

  /// Imports a directory.
  ///
  /// - Parameters:
  ///   - directory: Directory of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
  ///     t10k-labels-idx1-ubyte, each plain or with `.gz`.
  ///   - classNames: Names in label order; when empty, classes are named by their numbers.
  ///   - target: Directory of the store to make.
  /// - Throws: `DataError` `.missing`, `.unreadable` or `.damaged` with the file's name; `.unsuitable` when a label has
  ///   no name; `.unwritable`.
  public static func importDirectory(
    _ directory: String, classNames: [String], to target: String
  ) throws(DataError) -> Store {
    let train = try split(in: directory, prefix: "train")
    let test = try split(in: directory, prefix: "t10k")
    guard train.images.dimensions[1...] == test.images.dimensions[1...] else {
      throw DataError(
        code: .damaged,
        message: "training images are \(train.images.imageSize), test images \(test.images.imageSize)",
        location: directory)
    }
    let classCount = 1 + Int(max(train.labels.values.max() ?? 0, test.labels.values.max() ?? 0))
    guard classNames.isEmpty || classNames.count >= classCount else {
      throw DataError(
        code: .unsuitable,
        message: "labels go up to \(classCount - 1); data.idx.classNames has \(classNames.count) names",
        hint: "name every class, or give no names", location: directory)
    }
    let writer = try StoreWriter(
      directory: target, name: directory.split(separator: "/").last.map(String.init) ?? "idx",
      height: train.images.dimensions[1], width: train.images.dimensions[2], channels: 1,
      classNames: classNames.isEmpty ? (0..<classCount).map { "\($0)" } : classNames)
    for (part, split) in [(train, Split.train), (test, .test)] where !part.labels.values.isEmpty {
      try writer.append(
        Chunk(labels: part.labels.values.map(UInt16.init), pixels: Array(part.images.values)), to: split)
    }
    return try writer.finish()
  }

  private static func split(in directory: String, prefix: String) throws(DataError) -> (images: Array8, labels: Array8)
  {
    let images = try read("\(directory)/\(prefix)-images-idx3-ubyte", dimensions: 3)
    let labels = try read("\(directory)/\(prefix)-labels-idx1-ubyte", dimensions: 1)
    guard images.dimensions[0] == labels.dimensions[0] else {
      throw DataError(
        code: .damaged, message: "\(images.dimensions[0]) images and \(labels.dimensions[0]) labels",
        hint: "take both files from the same set", location: "\(directory)/\(prefix)-labels-idx1-ubyte")
    }
    return (images, labels)
  }

  /// The four files of a directory, compressed or not.
  ///
  /// - Throws: `DataError` `.missing`, with the remedy.
  static func files(in directory: String) throws(DataError) -> [String] {
    var files: [String] = []
    for prefix in ["train", "t10k"] {
      for kind in ["images-idx3", "labels-idx1"] { files.append(try find("\(directory)/\(prefix)-\(kind)-ubyte")) }
    }
    return files
  }

  private static func read(_ path: String, dimensions: Int) throws(DataError) -> Array8 {
    let found = try find(path)
    let file = try FileAccess.read(found, limit: byteLimit)
    let bytes = found.hasSuffix(".gz") ? try Gzip.inflate(file, limit: byteLimit, location: found) : file
    return try decode(bytes, dimensions: dimensions, location: found)
  }

  private static func find(_ path: String) throws(DataError) -> String {
    for candidate in [path, path + ".gz"] where FileAccess.exists(candidate) { return candidate }
    throw DataError(
      code: .missing, message: "neither this file nor \(path.split(separator: "/").last ?? "").gz exists",
      hint: "Fashion-MNIST: apt-get install dataset-fashion-mnist puts it in /usr/share/datasets/fashion-mnist",
      location: path)
  }

  /// Reads and checks the bytes of one file of unsigned bytes.
  static func decode(_ bytes: [UInt8], dimensions: Int, location: String) throws(DataError) -> Array8 {
    func damaged(_ message: String) -> DataError {
      DataError(code: .damaged, message: message, hint: "fetch the file again", location: location)
    }
    let header = 4 + 4 * dimensions
    guard bytes.count >= header, bytes[0] == 0, bytes[1] == 0, bytes[2] == 8, Int(bytes[3]) == dimensions else {
      let start = bytes.prefix(4).map { String($0, radix: 16) }.joined(separator: " ")
      throw damaged("starts with \(start); IDX of bytes in \(dimensions) dimensions starts with 0 0 8 \(dimensions)")
    }
    let sizes = (0..<dimensions).map { dimension in
      (0..<4).reduce(0) { $0 << 8 | Int(bytes[4 + 4 * dimension + $1]) }
    }
    var total = 1
    for size in sizes {
      let (product, overflow) = total.multipliedReportingOverflow(by: size)
      guard size > 0, !overflow else { throw damaged("dimensions \(sizes) are not sane") }
      total = product
    }
    guard bytes.count - header == total else {
      throw damaged("dimensions \(sizes) need \(total) bytes; the file has \(bytes.count - header)")
    }
    return Array8(dimensions: sizes, values: bytes[header...])
  }
}
