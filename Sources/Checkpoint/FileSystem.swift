// The few system calls that a durable write needs, with errors that name the path.

import Foundation

enum FileSystem {
  /// Writes all bytes to a descriptor.
  static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, path: String) throws {
    var done = 0
    while done < bytes.count {
      let count = Foundation.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw failure("writing \(bytes.count) bytes", path) }
      done += count
    }
  }

  /// Makes what was written to a descriptor survive a loss of power.
  static func synchronize(_ descriptor: Int32, path: String) throws {
    guard fsync(descriptor) == 0 else { throw failure("fsync", path) }
  }

  /// Makes the entries of a directory survive a loss of power.
  static func synchronizeDirectory(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("opening the directory", path) }
    defer { close(descriptor) }
    try synchronize(descriptor, path: path)
  }

  static func failure(_ action: String, _ path: String) -> CheckpointError {
    let number = errno
    let reason = String(cString: strerror(number))
    switch number {
    case ENOSPC, EDQUOT:
      return CheckpointError(
        .diskFull, "\(action): \(reason)", hint: "free space on that disk; older checkpoints are kept", location: path)
    default: return CheckpointError(.inputOutput, "\(action): \(reason)", location: path)
    }
  }

  static func read(_ path: String) throws -> [UInt8] {
    guard FileManager.default.fileExists(atPath: path) else {
      throw CheckpointError(.missing, "it is not there", location: path)
    }
    do { return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) } catch {
      throw CheckpointError(.inputOutput, "cannot be read", location: path, cause: error)
    }
  }

  /// Size and SHA-256 of a file, read in pieces.
  static func digest(_ path: String) throws -> (byteCount: Int, sha256: String) {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      throw CheckpointError(.missing, "it is not there", location: path)
    }
    defer { try? handle.close() }
    var hash = SHA256()
    var byteCount = 0
    do {
      while let piece = try handle.read(upToCount: 1 << 20), !piece.isEmpty {
        piece.withUnsafeBytes { hash.update($0) }
        byteCount += piece.count
      }
    } catch { throw CheckpointError(.inputOutput, "cannot be read", location: path, cause: error) }
    return (byteCount, hash.hexadecimal())
  }
}
