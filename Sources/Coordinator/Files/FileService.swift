// Serves files to workers piece by piece: data sets, checkpoints, initial weights. A name is looked up, never followed:
//
//   data/<set>/<file>                            a registered data set
//   jobs/<id>/checkpoints/step-<n>/<file>        a registered job
//   jobs/<id>/initial.safetensors
//
// Every part of a name is plain (letters, digits, dot, dash, underscore, no dot first), so no name leads out of its folder.
import Communication
import Foundation
import RunStore
import Synchronization

/// Reads pieces of registered files; from any thread.
final class FileService: Sendable {
  /// Bytes of a piece at most; more would not fit a control frame of a worker.
  static let pieceByteCount = 512 << 10

  private struct Registry {
    var datasets: [String: String] = [:]
    var jobs: [UInt64: String] = [:]
  }

  private let registry = Mutex(Registry())

  /// Lets workers read the data set `name` from a directory.
  func register(dataset name: String, directory: String) {
    registry.withLock { $0.datasets[name] = directory }
  }

  /// Lets workers read a job's checkpoints and initial weights from its directory.
  func register(job: JobID, directory: String) { registry.withLock { $0.jobs[job.rawValue] = directory } }

  /// The bytes asked for, fewer at the end of the file, or the reason why not in `error`.
  func piece(_ request: WireFetchPiece) -> WireFilePiece {
    var piece = WireFilePiece()
    piece.file = request.file
    piece.offset = request.offset
    guard let path = path(of: request.file) else {
      piece.error = "the coordinator serves no file of this name"
      return piece
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    var status = stat()
    guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
      piece.error = "cannot be read: \(String(cString: strerror(errno)))"
      if descriptor >= 0 { close(descriptor) }
      return piece
    }
    defer { close(descriptor) }
    guard status.st_mode & S_IFMT == S_IFREG, request.offset <= UInt64(status.st_size) else {
      piece.error = "offset \(request.offset) is beyond its \(status.st_size) bytes"
      return piece
    }
    piece.totalByteCount = UInt64(status.st_size)
    let wanted = min(
      Int(min(request.byteCount, UInt32(Self.pieceByteCount))), Int(status.st_size) - Int(request.offset))
    var bytes = Data(count: wanted)
    let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, wanted, Int(request.offset)) }
    if count == wanted {
      piece.bytes = bytes
    } else {
      piece.error = "\(count) bytes of \(wanted) could be read: \(String(cString: strerror(errno)))"
    }
    return piece
  }

  private func path(of name: String) -> String? {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.allSatisfy(Self.isPlain) else { return nil }
    return registry.withLock { registry in
      switch parts.count {
      case 3 where parts[0] == "data":
        return registry.datasets[parts[1]].map { "\($0)/\(parts[2])" }
      case 3 where parts[0] == "jobs" && parts[2] == "initial.safetensors":
        return UInt64(parts[1]).flatMap { registry.jobs[$0] }.map { "\($0)/\(parts[2])" }
      case 5 where parts[0] == "jobs" && parts[2] == "checkpoints" && parts[3].hasPrefix("step-"):
        return UInt64(parts[1]).flatMap { registry.jobs[$0] }.map { "\($0)/checkpoints/\(parts[3])/\(parts[4])" }
      default: return nil
      }
    }
  }

  private static func isPlain(_ part: String) -> Bool {
    guard !part.isEmpty, part.utf8.count <= 128, !part.hasPrefix(".") else { return false }
    return part.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
        true
      default: false
      }
    }
  }
}
