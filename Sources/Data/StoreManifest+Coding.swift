// JSON in and out. Decoding trusts nothing: bytes may come from a damaged disk or from a peer.

import Foundation

extension StoreManifest {
  /// Longest manifest that is read, in bytes.
  public static let byteLimit = 16 << 20
  /// Largest data set that a manifest may describe, in bytes of pixels: it has to fit in memory.
  static let pixelByteLimit = 64 << 30

  /// The manifest as JSON: keys sorted, one per line, a newline at the end.
  public func encoded() -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    guard let json = try? encoder.encode(self) else {
      preconditionFailure("a manifest holds only integers and strings, which JSON can always express: \(self)")
    }
    return Array(json) + [0x0A]
  }

  /// Reads and checks a manifest.
  ///
  /// - Parameters:
  ///   - bytes: JSON, at most `byteLimit` bytes.
  ///   - location: File or peer, for messages.
  /// - Throws: `DataError` `.damaged` when the bytes are no manifest or contradict themselves, `.version` when another
  ///   format version wrote them.
  public static func decode(_ bytes: [UInt8], location: String = "manifest") throws(DataError) -> StoreManifest {
    guard bytes.count <= byteLimit else {
      throw DataError(
        code: .damaged, message: "the manifest has \(bytes.count) bytes; the limit is \(byteLimit)", location: location)
    }
    let manifest: StoreManifest
    do {
      let decoder = JSONDecoder()
      let header = try decoder.decode(Header.self, from: Foundation.Data(bytes))
      guard header.formatVersion == formatVersion else {
        throw DataError(
          code: .version, message: "format version is \(header.formatVersion); this release reads \(formatVersion)",
          hint: "make the store again", location: location)
      }
      manifest = try decoder.decode(StoreManifest.self, from: Foundation.Data(bytes))
    } catch let error as DataError {
      throw error
    } catch {
      throw DataError(
        code: .damaged, message: "not a store manifest", hint: "make the store again", location: location, cause: error)
    }
    if let fault = manifest.fault() {
      throw DataError(code: .damaged, message: fault, hint: "make the store again", location: location)
    }
    return manifest
  }

  private struct Header: Codable { var formatVersion: Int }

  /// What contradicts itself, or nil.
  private func fault() -> String? {
    guard (1...8_192).contains(height), (1...8_192).contains(width), (1...16).contains(channels), bitDepth == 8 else {
      return "images of \(height) x \(width) x \(channels), \(bitDepth) bits, are not supported"
    }
    guard (1...65_535).contains(classNames.count), Set(classNames).count == classNames.count else {
      return "\(classNames.count) class names, not all different or none"
    }
    var files: Set<String> = []
    var bytes = 0
    for split in Split.allCases {
      let entry = self[split]
      guard entry.classCounts.count == classNames.count, entry.classCounts.allSatisfy({ (0...(1 << 40)).contains($0) })
      else { return "class counts of the \(split.rawValue) split do not fit \(classNames.count) classes" }
      for chunk in entry.chunks {
        guard (1...Chunk.sampleLimit).contains(chunk.sampleCount),
          chunk.byteCount == Chunk.byteCount(samples: chunk.sampleCount, sampleByteCount: sampleByteCount)
        else { return "\(chunk.file): \(chunk.byteCount) bytes do not fit \(chunk.sampleCount) samples" }
        guard Self.isPlain(chunk.file), files.insert(chunk.file).inserted else {
          return "'\(chunk.file.prefix(80))' is not the name of one chunk"
        }
        bytes += chunk.byteCount
        guard bytes <= Self.pixelByteLimit else { return "the data set has more than \(Self.pixelByteLimit) bytes" }
      }
      let classTotal = entry.classCounts.reduce(0, +)
      guard classTotal == entry.sampleCount else {
        return "class counts of the \(split.rawValue) split add up to \(classTotal), chunks to \(entry.sampleCount)"
      }
    }
    let expected = contentHash()
    return identity == expected ? nil : "identity is '\(identity.prefix(32))', the contents have \(expected)"
  }

  /// A file name that stays inside its directory.
  private static func isPlain(_ file: String) -> Bool {
    (1...100).contains(file.utf8.count) && !file.hasPrefix(".")
      && file.utf8.allSatisfy {
        (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || "-_.".utf8.contains($0)
      }
  }

  /// Hash of all fields but `identity`, in a written order; strings are length-prefixed so fields cannot run together.
  func contentHash() -> String {
    var hash = FNV64()
    hash.add(formatVersion)
    hash.add(name)
    for value in [height, width, channels, bitDepth, classNames.count] { hash.add(value) }
    for name in classNames { hash.add(name) }
    for split in Split.allCases {
      for count in self[split].classCounts { hash.add(count) }
      hash.add(self[split].chunks.count)
      for chunk in self[split].chunks {
        hash.add(chunk.file)
        for value in [chunk.byteCount, Int(chunk.crc32), chunk.sampleCount] { hash.add(value) }
      }
    }
    return hash.hexadecimal
  }
}
