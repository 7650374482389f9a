// Files of the coordinator, fetched in pieces: dataset chunks, checkpoints, initial weights.
import Communication
import Foundation

/// One question to the coordinator and its answer; ControlClient in a process, a table in tests.
protocol CoordinatorRequests: Sendable {
  /// Sends `body` and waits for the reply.
  ///
  /// - Throws: `CommunicationError` when no reply comes in time or the connection is down.
  func request(_ body: WireEnvelope.OneOf_Body, timeout: Duration) throws -> WireEnvelope.OneOf_Body
}

extension CoordinatorRequests {
  /// Asks until there is an answer, however often the coordinator goes away meanwhile.
  ///
  /// Only for questions that may be asked twice.
  /// - Throws: `WorkerError.interrupted` when the generation ends first.
  func requestUntilAnswered(
    _ body: WireEnvelope.OneOf_Body, timeout: Duration = .seconds(10), _ interruption: Interruption
  ) throws -> WireEnvelope.OneOf_Body {
    while true {
      try interruption.check()
      if let reply = try? request(body, timeout: timeout) { return reply }
      Thread.sleep(forTimeInterval: 0.2)
    }
  }
}

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
      if case .refused(let refusal) = reply { throw failure(file, refusal.reason, hint: refusal.remedy) }
      throw failure(file, "the coordinator answers FetchPiece with another message")
    }
    guard piece.error.isEmpty else { throw failure(file, piece.error) }
    guard piece.file == file, piece.offset == UInt64(offset) else {
      throw failure(file, "asked for offset \(offset), got \(piece.file) at \(piece.offset)")
    }
    return piece
  }

  private func failure(_ file: String, _ message: String, hint: String = "") -> WorkerError {
    WorkerError(code: .data, message: message, hint: hint, location: "coordinator's file \(file)")
  }
}
