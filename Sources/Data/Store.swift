// A store: a directory with manifest.json and chunk files. Written aside and renamed, so a store is whole or absent.

import Foundation

/// A data set on a disk.
public struct Store: Sendable, Hashable {
  /// Name of the manifest's file.
  public static let manifestFile = "manifest.json"

  /// Directory of the store.
  public let directory: String
  /// What the store holds.
  public let manifest: StoreManifest

  /// Opens a store: reads and checks the manifest; chunks are checked when read.
  ///
  /// - Throws: `DataError` `.missing` when there is no store, `.unreadable`, `.damaged` or `.version` when there is
  ///   one.
  public static func open(_ directory: String) throws(DataError) -> Store {
    let path = "\(directory)/\(manifestFile)"
    guard FileAccess.exists(path) else {
      throw DataError(
        code: .missing, message: "no store here: \(manifestFile) is missing",
        hint: "check data.store.directory", location: directory)
    }
    let bytes = try FileAccess.read(path, limit: StoreManifest.byteLimit)
    return Store(directory: directory, manifest: try .decode(bytes, location: path))
  }

  /// Path of a chunk's file.
  public func path(of address: ChunkAddress) -> String {
    "\(directory)/\(manifest[address.split].chunks[address.index].file)"
  }

  /// The encoded bytes of a chunk, as they travel to workers; checked by whoever assembles them.
  ///
  /// - Throws: `DataError` `.missing`, `.unreadable`, or `.damaged` when the length is not the manifest's.
  public func bytes(of address: ChunkAddress) throws(DataError) -> [UInt8] {
    let entry = manifest[address.split].chunks[address.index]
    let path = path(of: address)
    let bytes = try FileAccess.read(path, limit: entry.byteCount)
    guard bytes.count == entry.byteCount else {
      throw DataError(
        code: .damaged, message: "\(bytes.count) bytes; the manifest says \(entry.byteCount)",
        hint: "make the store again", location: path)
    }
    return bytes
  }

  /// Checks every chunk against the manifest.
  ///
  /// - Throws: `DataError` of the first chunk that is missing or damaged.
  public func verify() throws(DataError) {
    for split in Split.allCases {
      for (index, entry) in manifest[split].chunks.enumerated() {
        let address = ChunkAddress(split: split, index: index)
        let bytes = try bytes(of: address)
        let checksum = Chunk.checksum(bytes[..<(bytes.count - 4)])
        guard checksum == entry.crc32, Chunk.storedChecksum(bytes) == checksum else {
          throw DataError(
            code: .damaged,
            message: "CRC-32 is \(Chunk.hexadecimal(checksum)), the manifest says \(Chunk.hexadecimal(entry.crc32))",
            hint: "make the store again", location: path(of: address))
        }
      }
    }
  }

  /// Reads the whole data set into memory.
  ///
  /// - Throws: `DataError` of the first chunk that is missing or damaged.
  public func load() throws(DataError) -> InMemoryDataset {
    let assembler = DatasetAssembler(manifest: manifest)
    for address in assembler.missing {
      try assembler.add(try bytes(of: address), at: address, location: path(of: address))
    }
    return try assembler.finish()
  }
}
