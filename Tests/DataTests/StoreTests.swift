// Chunks, manifests, stores, assembly: whole round trips, and every kind of damage.

import Foundation
import Testing

@testable import Data

@Suite("the store")
struct StoreTests {
  /// An image that tells its index, and its first row from the others.
  private func image(_ index: Int) -> [UInt8] {
    (0..<700).map { UInt8(truncatingIfNeeded: $0 + index) }
      + [UInt8](repeating: UInt8(40 * index + 1), count: 699 * 700)
  }

  /// 5 training and 3 test images of 700 x 700: four and one and a half chunks.
  private func smallStore(in folder: TemporaryFolder, name: String = "store") throws -> Store {
    let area = 700 * 700
    let writer = try StoreWriter(
      directory: "\(folder.path)/\(name)", name: "small", height: 700, width: 700, channels: 1, classNames: ["a", "b"])
    for index in 0..<5 {
      try writer.append(Chunk(labels: [UInt16(index % 2)], pixels: image(index)), to: .train)
    }
    try writer.append(Chunk(labels: [0, 1, 1], pixels: Array(repeating: 9, count: 3 * area)), to: .test)
    return try writer.finish()
  }

  @Test("a chunk survives a round trip")
  func chunkRoundTrip() throws {
    for (labels, pixels) in [([7], [1]), ([0, 65_535, 258], [UInt8](0..<12))] as [([UInt16], [UInt8])] {
      let chunk = Chunk(labels: labels, pixels: pixels)
      let bytes = chunk.encoded()
      #expect(bytes.count == Chunk.byteCount(samples: labels.count, sampleByteCount: pixels.count / labels.count))
      #expect(try Chunk.decode(bytes) == chunk)
    }
  }

  @Test("a chunk with any bit flipped, cut or added is refused")
  func chunkDamage() {
    let bytes = Chunk(labels: [1, 2, 3], pixels: [UInt8](0..<12)).encoded()
    for position in bytes.indices {
      for bit in 0..<8 {
        var damaged = bytes
        damaged[position] ^= 1 << bit
        #expect(code { () throws(DataError) in try Chunk.decode(damaged) } == .damaged)
      }
      #expect(code { () throws(DataError) in try Chunk.decode(Array(bytes[..<position])) } == .damaged)
    }
    #expect(code { () throws(DataError) in try Chunk.decode(bytes + [0]) } == .damaged)
  }

  @Test("random bytes, and headers that promise terabytes, are refused")
  func chunkGarbage() {
    var dice = Dice(state: 1)
    let magic = Array("TMPRCHK1".utf8)
    for round in 0..<500 {
      let tail = (0..<dice.roll(64)).map { _ in UInt8(dice.roll(256)) }
      #expect(code { () throws(DataError) in try Chunk.decode(round % 2 == 0 ? tail : magic + tail) } == .damaged)
    }
    let huge = magic + [UInt8](repeating: 0xFF, count: 8) + [0, 0, 0, 0]
    #expect(code { () throws(DataError) in try Chunk.decode(huge) } == .damaged)
  }

  @Test("a store is cut into chunks of about 2 MiB, and reads back")
  func storeRoundTrip() throws {
    let folder = try TemporaryFolder()
    let store = try smallStore(in: folder)
    #expect(store.manifest.train.chunks.map(\.sampleCount) == [4, 1])
    #expect(store.manifest.test.chunks.map(\.sampleCount) == [3])
    #expect(store.manifest.train.classCounts == [3, 2])
    #expect(store.manifest.train.chunks[0].byteCount <= Chunk.targetByteCount + 1_024)
    let opened = try Store.open(store.directory)
    #expect(opened == store)
    try opened.verify()
    let dataset = try opened.load()
    #expect(dataset.train.labels == [0, 1, 0, 1, 0])
    #expect(dataset[.test].labels == [0, 1, 1])
    #expect(dataset.classNames == ["a", "b"])
    for index in 0..<5 {
      #expect(Array(UnsafeBufferPointer(start: dataset.train.pixels(index), count: 700 * 700)) == image(index))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["store"])
  }

  @Test("chunks may arrive in any order and twice; the set is complete only with all")
  func assembly() throws {
    let folder = try TemporaryFolder()
    let store = try smallStore(in: folder)
    let assembler = DatasetAssembler(manifest: store.manifest)
    let all = assembler.missing
    #expect(all.count == 3)
    for address in all.reversed() {
      #expect(code { () throws(DataError) in try assembler.finish() } == .damaged)
      let bytes = try store.bytes(of: address)
      var flipped = bytes
      flipped[flipped.count / 2] ^= 4
      #expect(code { () throws(DataError) in try assembler.add(flipped, at: address) } == .damaged)
      #expect(assembler.missing.contains(address))
      try assembler.add(bytes, at: address)
      try assembler.add(bytes, at: address)
      #expect(!assembler.missing.contains(address))
    }
    #expect(try assembler.finish().train.labels == [0, 1, 0, 1, 0])
  }

  @Test("a sound chunk of another store, or at another place, is refused")
  func wrongChunk() throws {
    let folder = try TemporaryFolder()
    let store = try smallStore(in: folder)
    let assembler = DatasetAssembler(manifest: store.manifest)
    let first = ChunkAddress(split: .train, index: 0)
    let other = Chunk(labels: [0, 1, 0, 1], pixels: [UInt8](repeating: 1, count: 4 * 700 * 700)).encoded()
    #expect(code { () throws(DataError) in try assembler.add(other, at: first) } == .damaged)
    let second = try store.bytes(of: ChunkAddress(split: .train, index: 1))
    #expect(code { () throws(DataError) in try assembler.add(second, at: first) } == .damaged)
    #expect(
      code { () throws(DataError) in try assembler.add(second, at: ChunkAddress(split: .test, index: 9)) } == .damaged)
  }

  @Test("a manifest survives a round trip; damage, contradictions and other versions are refused")
  func manifest() throws {
    let folder = try TemporaryFolder()
    let manifest = try smallStore(in: folder).manifest
    let bytes = manifest.encoded()
    #expect(try StoreManifest.decode(bytes) == manifest)
    let text = String(decoding: bytes, as: UTF8.self)
    for (found, replacement, expected) in [
      ("\"formatVersion\" : 1", "\"formatVersion\" : 2", DataError.Code.version),
      ("\"height\" : 700", "\"height\" : 701", .damaged), ("\"height\" : 700", "\"height\" : -700", .damaged),
      ("\"height\" : 700", "\"height\" : 9223372036854775807", .damaged), ("\"a\"", "\"b\"", .damaged),
      ("\"a\"", "\"c\"", .damaged), ("train-00000.chunk", "../../etc/passwd", .damaged),
      ("train-00000.chunk", "test-00000.chunk", .damaged), ("train-00000.chunk", ".hidden", .damaged),
      ("\"sampleCount\" : 4", "\"sampleCount\" : 5", .damaged), ("\"small\"", "\"other\"", .damaged),
      ("\"small\"", "7", .damaged), ("{", "", .damaged), ("\"channels\" : 1", "\"channels\" : 0", .damaged),
    ] {
      let changed = text.replacingOccurrences(of: found, with: replacement)
      #expect(changed != text, "\(found)")
      #expect(
        code { () throws(DataError) in try StoreManifest.decode(Array(changed.utf8)) } == expected, "\(replacement)")
    }
    for bytes in [[], Array("null".utf8), Array(repeating: 0x5B, count: 100_000), [0xFF, 0xFE, 0]] as [[UInt8]] {
      #expect(code { () throws(DataError) in try StoreManifest.decode(bytes) } == .damaged)
    }
    var dice = Dice(state: 2)
    for _ in 0..<300 {
      var damaged = bytes
      for _ in 0...dice.roll(3) { damaged[dice.roll(damaged.count)] = UInt8(dice.roll(256)) }
      // Either refused or, when only spaces changed, the same manifest.
      if let decoded = try? StoreManifest.decode(damaged) { #expect(decoded == manifest) }
    }
  }

  @Test("a manifest that is consistent with itself but not sane is refused: a peer may have made it")
  func hostileManifest() throws {
    let folder = try TemporaryFolder()
    let manifest = try smallStore(in: folder).manifest
    for change in [
      { $0.train.chunks[0].file = "../../etc/passwd" }, { $0.train.chunks[0].file = ".hidden" },
      { $0.train.chunks[0].file = "" }, { $0.train.chunks[0].file = $0.test.chunks[0].file },
      { $0.height = -700 }, { $0.height = .max }, { $0.width = 0 }, { $0.channels = 17 }, { $0.bitDepth = 16 },
      { $0.classNames = [] }, { $0.classNames = ["a", "a"] }, { $0.train.classCounts = [5] },
      { $0.train.classCounts = [6, -1] }, { $0.train.classCounts = [.max, .max] }, { $0.train.classCounts = [4, 2] },
      { $0.train.chunks[0].sampleCount = -4 }, { $0.train.chunks[0].sampleCount = .max },
      { $0.train.chunks[0].byteCount += 1 },
    ] as [(inout StoreManifest) -> Void] {
      var hostile = manifest
      change(&hostile)
      hostile.identity = hostile.contentHash()
      #expect(hostile != manifest)
      #expect(code { () throws(DataError) in try StoreManifest.decode(hostile.encoded()) } == .damaged)
    }
    var renamed = manifest
    renamed.train.chunks[0].file = "other.chunk"
    renamed.identity = renamed.contentHash()
    #expect(try StoreManifest.decode(renamed.encoded()) == renamed)
  }

  @Test("a chunk file that is cut, flipped or gone is found and named")
  func damagedFiles() throws {
    let folder = try TemporaryFolder()
    let store = try smallStore(in: folder)
    let path = "\(store.directory)/test-00000.chunk"
    var bytes = try store.bytes(of: ChunkAddress(split: .test, index: 0))
    bytes[100] ^= 1
    try Foundation.Data(bytes).write(to: URL(fileURLWithPath: path))
    #expect(words { () throws(DataError) in try store.load() }?.hasPrefix("\(path): error: CRC-32 is ") == true)
    #expect(code { () throws(DataError) in try store.verify() } == .damaged)
    try Foundation.Data(bytes[..<99]).write(to: URL(fileURLWithPath: path))
    #expect(code { () throws(DataError) in try store.verify() } == .damaged)
    try Foundation.Data(bytes + bytes).write(to: URL(fileURLWithPath: path))
    #expect(code { () throws(DataError) in try store.load() } == .damaged)
    try FileManager.default.removeItem(atPath: path)
    #expect(words { () throws(DataError) in try store.load() } == "\(path): error: no such file")
    #expect(code { () throws(DataError) in try Store.open(folder.path) } == .missing)
  }

  @Test("a writer that is dropped leaves nothing; one that finds something refuses")
  func abandonedWriter() throws {
    let folder = try TemporaryFolder()
    let target = "\(folder.path)/store"
    do {
      let writer = try StoreWriter(
        directory: target, name: "x", height: 1, width: 1, channels: 1, classNames: ["a"])
      try writer.append(Chunk(labels: [0], pixels: [1]), to: .train)
      #expect(
        code { () throws(DataError) in try writer.append(Chunk(labels: [1], pixels: [1]), to: .train) } == .unsuitable)
      #expect(
        code { () throws(DataError) in try writer.append(Chunk(labels: [0], pixels: [1, 2]), to: .train) }
          == .unsuitable)
      #expect(!FileManager.default.fileExists(atPath: target))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    _ = try smallStore(in: folder)
    #expect(
      code { () throws(DataError) in
        try StoreWriter(directory: target, name: "x", height: 1, width: 1, channels: 1, classNames: ["a"])
      } == .unwritable)
  }

  @Test("the identity changes with labels, pixels and names, and with nothing else")
  func identity() throws {
    func identity(label: UInt16, pixel: UInt8, className: String) throws -> String {
      let folder = try TemporaryFolder()
      let writer = try StoreWriter(
        directory: "\(folder.path)/s", name: "x", height: 1, width: 1, channels: 1, classNames: ["a", className])
      try writer.append(Chunk(labels: [label], pixels: [pixel]), to: .train)
      return try writer.finish().manifest.identity
    }
    let base = try identity(label: 0, pixel: 3, className: "b")
    #expect(try identity(label: 0, pixel: 3, className: "b") == base)
    #expect(try identity(label: 1, pixel: 3, className: "b") != base)
    #expect(try identity(label: 0, pixel: 4, className: "b") != base)
    #expect(try identity(label: 0, pixel: 3, className: "c") != base)
    #expect(base.utf8.count == 16)
  }
}
