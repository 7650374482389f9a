// Importing IDX files, plain and gzip.

import Foundation
import JobSpec
import Testing

@testable import Data

private let fashion = "/usr/share/datasets/fashion-mnist"

@Suite("IDX import")
struct IDXTests {
  /// Four images for training, two for testing, of 2 x 3 pixels.
  private func write(
    to folder: TemporaryFolder, compressed: Bool = true, images: [UInt8]? = nil, labels: [UInt8]? = nil
  ) throws {
    let suffix = compressed ? ".gz" : ""
    func wrap(_ bytes: [UInt8]) -> [UInt8] { compressed ? gzip(bytes) : bytes }
    let pixels = [UInt8](0..<24)
    try folder.write(wrap(images ?? idx([4, 2, 3], pixels)), "train-images-idx3-ubyte" + suffix)
    try folder.write(wrap(labels ?? idx([4], [0, 2, 1, 2])), "train-labels-idx1-ubyte" + suffix)
    try folder.write(wrap(idx([2, 2, 3], Array(pixels[..<12]))), "t10k-images-idx3-ubyte" + suffix)
    try folder.write(wrap(idx([2], [1, 0])), "t10k-labels-idx1-ubyte" + suffix)
  }

  private func fault(_ folder: TemporaryFolder, classNames: [String] = []) -> String? {
    words { () throws(DataError) in
      try IDXImporter.importDirectory(folder.path, classNames: classNames, to: "\(folder.path)/store")
    }?.replacingOccurrences(of: folder.path + "/", with: "")
  }

  @Test("plain and gzip files give the same store", arguments: [false, true])
  func roundTrip(compressed: Bool) throws {
    let folder = try TemporaryFolder()
    try write(to: folder, compressed: compressed)
    let store = try IDXImporter.importDirectory(folder.path, classNames: [], to: "\(folder.path)/store")
    #expect(store.manifest.classNames == ["0", "1", "2"])
    let dataset = try store.load()
    #expect(dataset.train.labels == [0, 2, 1, 2])
    #expect((dataset.train.height, dataset.train.width, dataset.train.channels) == (2, 3, 1))
    #expect(Array(UnsafeBufferPointer(start: dataset.train.pixels(3), count: 6)) == [18, 19, 20, 21, 22, 23])
    #expect(dataset.test.labels == [1, 0])
  }

  @Test("missing files name the file and the remedy")
  func missing() throws {
    let folder = try TemporaryFolder()
    #expect(
      fault(folder)
        == "train-images-idx3-ubyte: error: neither this file nor train-images-idx3-ubyte.gz exists\n"
        + "  hint: Fashion-MNIST: apt-get install dataset-fashion-mnist puts it in \(fashion)")
  }

  @Test("a gzip file cut anywhere is refused, as is one with bytes added or flipped")
  func truncated() throws {
    let bytes = idx([4, 2, 3], [UInt8](0..<24))
    let whole = gzip(bytes)
    for length in 0..<whole.count {
      #expect(
        code { () throws(DataError) in try Gzip.inflate(Array(whole[..<length]), limit: 1_000, location: "x") }
          == .damaged, "\(length) of \(whole.count)")
    }
    #expect(
      words { () throws(DataError) in try Gzip.inflate(Array(whole.dropLast(3)), limit: 1_000, location: "x") }
        == "x: error: truncated: the gzip data does not end after \(whole.count - 3) bytes\n"
        + "  hint: fetch the file again"
    )
    #expect(code { () throws(DataError) in try Gzip.inflate(whole + [0], limit: 1_000, location: "x") } == .damaged)
    for position in 10..<whole.count {
      var damaged = whole
      damaged[position] ^= 0x10
      // The bits that pad the last deflate byte mean nothing.
      if let inflated = try? Gzip.inflate(damaged, limit: 1_000, location: "x") { #expect(inflated == bytes) }
    }
    let bomb = gzip([UInt8](repeating: 0, count: 1_000_000))
    #expect(code { () throws(DataError) in try Gzip.inflate(bomb, limit: 999_999, location: "x") } == .damaged)
    #expect(try Gzip.inflate(bomb, limit: 1_000_000, location: "x").count == 1_000_000)
  }

  @Test("wrong magic, sizes and counts are refused with the file's name")
  func contradictions() throws {
    for (images, labels, expected) in [
      (
        idx([4, 2, 3], [1, 2, 3]), nil,
        "train-images-idx3-ubyte.gz: error: dimensions [4, 2, 3] need 24 bytes; the file has 3"
      ),
      (
        idx([24], [UInt8](0..<24)), nil,
        "train-images-idx3-ubyte.gz: error: starts with 0 0 8 1; IDX of bytes in 3 dimensions starts with 0 0 8 3"
      ),
      (idx([0, 2, 3], []), nil, "train-images-idx3-ubyte.gz: error: dimensions [0, 2, 3] are not sane"),
      (
        idx([0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF], []), nil,
        "train-images-idx3-ubyte.gz: error: dimensions [4294967295, 4294967295, 4294967295] are not sane"
      ),
      ([], nil, "train-images-idx3-ubyte.gz: error: starts with ; IDX of bytes in 3 dimensions starts with 0 0 8 3"),
      (nil, idx([3], [0, 1, 2]), "train-labels-idx1-ubyte: error: 4 images and 3 labels"),
      (
        idx([4, 3, 2], [UInt8](0..<24)), nil, ": error: training images are 3 x 2, test images 2 x 3"
      ),
    ] as [([UInt8]?, [UInt8]?, String)] {
      let folder = try TemporaryFolder()
      try write(to: folder, images: images, labels: labels)
      let fault = fault(folder)?.replacingOccurrences(of: folder.path, with: "") ?? "none"
      #expect(fault.hasPrefix(expected), "\(fault)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/store"))
    }
    let folder = try TemporaryFolder()
    try write(to: folder)
    #expect(
      fault(folder, classNames: ["a", "b"])?.contains("labels go up to 2; data.idx.classNames has 2 names") == true)
  }

  @Test("Debian's Fashion-MNIST has 6,000 and 1,000 images of each class", .enabled(if: FileAccess.exists(fashion)))
  func fashionMNIST() throws {
    let folder = try TemporaryFolder()
    let names = (0..<10).map { "class \($0)" }
    let store = try IDXImporter.importDirectory(fashion, classNames: names, to: "\(folder.path)/store")
    #expect(store.manifest.train.classCounts == Array(repeating: 6_000, count: 10))
    #expect(store.manifest.test.classCounts == Array(repeating: 1_000, count: 10))
    #expect((store.manifest.height, store.manifest.width, store.manifest.channels) == (28, 28, 1))
    #expect(try store.load().train.count == 60_000)
  }
}
