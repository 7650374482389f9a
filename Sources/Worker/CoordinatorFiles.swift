// Files of the coordinator, fetched in pieces: dataset chunks, checkpoints, initial weights.
import Communication

/// Reads the coordinator's files.
struct CoordinatorFiles: Sendable {
  /// Bytes asked for at once; a control message takes at most 1 MiB.
  static let pieceByteCount = 512 << 10

  let coordinator: any CoordinatorRequests

  /// The whole file.
  ///
  /// - Parameters:
  ///   - file: its name, as the coordinator gave it.
  ///   - limit: bytes that the caller is ready to hold; a file that says it is longer is refused before memory is taken.
  /// - Throws: `WorkerError` `.data` when the coordinator cannot read it or contradicts itself, `.interrupted`.
  func fetch(_ file: String, limit: Int, _ interruption: Interruption) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var total: Int?
    repeat {
      let piece = try fetchPiece(file, offset: bytes.count, interruption)
      guard let announced = Int(exactly: piece.totalByteCount), announced <= limit, announced == total ?? announced
      else {
        throw failure(file, "the coordinator says it has \(piece.totalByteCount) bytes; at most \(limit) fit here")
      }
      if total == nil { bytes.reserveCapacity(announced) }
      total = announced
      guard bytes.count + piece.bytes.count <= announced, !piece.bytes.isEmpty || announced == bytes.count else {
        throw failure(file, "\(piece.bytes.count) bytes at offset \(bytes.count) of \(announced)")
      }
      bytes.append(contentsOf: piece.bytes)
    } while bytes.count < total ?? 0
    return bytes
  }

  private func fetchPiece(_ file: String, offset: Int, _ interruption: Interruption) throws -> WireFilePiece {
    var question = WireFetchPiece()
    question.file = file
    question.offset = UInt64(offset)
    question.byteCount = UInt32(Self.pieceByteCount)
    let reply = try coordinator.requestUntilAnswered(.fetchPiece(question), interruption)
    guard case .filePiece(let piece) = reply else {
      throw failure(file, "the coordinator answers FetchPiece with another message")
    }
    guard piece.error.isEmpty else { throw failure(file, piece.error) }
    guard piece.file == file, piece.offset == UInt64(offset) else {
      throw failure(file, "asked for offset \(offset), got \(piece.file) at \(piece.offset)")
    }
    return piece
  }

  private func failure(_ file: String, _ message: String) -> WorkerError {
    WorkerError(code: .data, message: message, location: "coordinator's file \(file)")
  }
}
