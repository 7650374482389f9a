// Fetching files from a coordinator that keeps to the protocol, and from one that does not.
import Communication
import Foundation
import Synchronization
import Testing

@testable import Worker

/// A coordinator that answers FetchPiece from a table of files.
struct FileTable: CoordinatorRequests {
  var files: [String: [UInt8]] = [:]
  /// Changes an answer before it leaves.
  var spoil: @Sendable (inout WireFilePiece) -> Void = { _ in }
  /// Requests that fail before the first answer.
  let absences = Record<Int>()
  var absenceCount = 0

  func request(_ body: WireEnvelope.OneOf_Body, timeout: Duration) throws -> WireEnvelope.OneOf_Body? {
    if absences.all.count < absenceCount {
      absences.add(0)
      throw CommunicationError(.timedOut, "away")
    }
    guard case .fetchPiece(let question) = body else { throw CommunicationError(.refused, "not a file") }
    var piece = WireFilePiece()
    piece.file = question.file
    piece.offset = question.offset
    if let file = files[question.file] {
      piece.totalByteCount = UInt64(file.count)
      piece.bytes = .init(file.dropFirst(Int(question.offset)).prefix(Int(question.byteCount)))
    } else {
      piece.error = "no such file"
    }
    spoil(&piece)
    return .filePiece(piece)
  }
}

@Suite("Files of the coordinator")
struct CoordinatorFilesTests {
  static let sizes = [0, 1, CoordinatorFiles.pieceByteCount, CoordinatorFiles.pieceByteCount + 1]

  @Test("arrive whole, in pieces, and after an absence of the coordinator", arguments: sizes)
  func whole(size: Int) throws {
    let content = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let table = FileTable(files: ["data/strip/train-0": content], absenceCount: 1)
    let files = CoordinatorFiles(coordinator: table)
    #expect(try files.fetch("data/strip/train-0", limit: size, Interruption()) == content)
  }

  @Test("that are missing are named")
  func missing() {
    let files = CoordinatorFiles(coordinator: FileTable())
    let error = #expect(throws: WorkerError.self) { try files.fetch("data/x", limit: 10, Interruption()) }
    #expect(error?.description == "coordinator's file data/x: error: no such file")
  }

  @Test(
    "are refused when the coordinator contradicts itself",
    arguments: ["too long", "growing", "empty piece", "another file", "another offset", "too many bytes"])
  func contradictions(kind: String) {
    let content = [UInt8](repeating: 1, count: CoordinatorFiles.pieceByteCount + 10)
    let table = FileTable(files: ["f": content]) { piece in
      switch kind {
      case "too long": piece.totalByteCount = .max
      case "growing": if piece.offset > 0 { piece.totalByteCount -= 1 }
      case "empty piece": piece.bytes.removeAll()
      case "another file": piece.file = "g"
      case "another offset": piece.offset += 1
      default: if piece.offset > 0 { piece.bytes.append(0) }
      }
    }
    let files = CoordinatorFiles(coordinator: table)
    #expect(throws: WorkerError.self) { try files.fetch("f", limit: content.count, Interruption()) }
  }

  @Test("are given up when the generation ends while the coordinator is away")
  func interruption() {
    let interruption = Interruption()
    interruption.interrupt("w-2 joined")
    let files = CoordinatorFiles(coordinator: FileTable(files: ["f": [1]]))
    let error = #expect(throws: WorkerError.self) { try files.fetch("f", limit: 1, interruption) }
    #expect(error?.code == .interrupted)
  }
}
