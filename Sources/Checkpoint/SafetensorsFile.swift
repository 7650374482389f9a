// A safetensors file read tensor by tensor: only the header stays in memory.

import Foundation
public import Graph

/// An open safetensors file.
public final class SafetensorsFile {
  /// The tensors in it, in order of their data.
  public let entries: [Safetensors.Entry]
  private let handle: FileHandle
  private let path: String
  private let dataStart: Int

  /// Opens a file and checks its header.
  ///
  /// - Throws: `missing`, `damaged`, `unsupported`.
  public init(path: String) throws {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      throw CheckpointError(.missing, "cannot be opened", location: path)
    }
    self.handle = handle
    self.path = path
    do {
      let total = Int(clamping: try handle.seekToEnd())
      try handle.seek(toOffset: 0)
      dataStart = try Safetensors.headerEnd(
        [UInt8](try handle.read(upToCount: 8) ?? Data()), totalByteCount: total, location: path)
      let header = [UInt8](try handle.read(upToCount: dataStart - 8) ?? Data())
      entries = try Safetensors.entries(header: header[...], dataByteCount: total - dataStart, location: path)
    } catch let error as CheckpointError { throw error } catch {
      throw CheckpointError(.inputOutput, "cannot be read", location: path, cause: error)
    }
  }

  deinit { try? handle.close() }

  /// Reads one tensor.
  ///
  /// - Throws: `missing` with the name when there is none, `damaged` when the file ends early.
  public func tensor(named name: String) throws -> NamedTensor {
    guard let entry = entries.first(where: { $0.name == name }) else {
      throw CheckpointError(.missing, "no tensor of this name", location: "\(path): \(name)")
    }
    return try read(entry)
  }

  /// Reads all tensors.
  public func tensors() throws -> [NamedTensor] { try entries.map(read) }

  private func read(_ entry: Safetensors.Entry) throws -> NamedTensor {
    var bytes: [UInt8] = []
    do {
      try handle.seek(toOffset: UInt64(dataStart + entry.range.lowerBound))
      bytes = [UInt8](try handle.read(upToCount: entry.range.count) ?? Data())
    } catch {
      throw CheckpointError(.inputOutput, "cannot be read", location: "\(path): \(entry.name)", cause: error)
    }
    guard bytes.count == entry.range.count else {
      throw CheckpointError(
        .damaged, "\(bytes.count) of \(entry.range.count) bytes could be read", location: "\(path): \(entry.name)")
    }
    return try Safetensors.tensor(entry, bytes, location: path)
  }
}
