// Files that are served and taken in: nothing leads out of its folder, nothing damaged is kept.
import Checkpoint
import Communication
import Foundation
import RunStore
import Testing

@testable import Coordinator

/// A directory that disappears with the test.
final class Scratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("temper-\(UUID().uuidString.prefix(8))").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    let file = URL(fileURLWithPath: "\(path)/\(name)")
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: file)
  }
}

@Suite struct FilesTests {
  private func fetch(_ service: FileService, _ file: String, offset: UInt64 = 0, count: UInt32 = 1 << 20)
    -> WireFilePiece
  {
    var request = WireFetchPiece()
    request.file = file
    request.offset = offset
    request.byteCount = count
    return service.piece(request)
  }

  @Test("registered files are served in pieces, up to 512 KiB each")
  func pieces() throws {
    let scratch = try Scratch()
    let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    try scratch.write("set/train-0.chunk", bytes)
    try scratch.write("job/checkpoints/step-00000010/model.safetensors", [1, 2, 3])
    try scratch.write("job/initial.safetensors", [4])
    let service = FileService()
    service.register(dataset: "strip-1", directory: scratch.path + "/set")
    service.register(job: JobID(7), directory: scratch.path + "/job")
    let first = fetch(service, "data/strip-1/train-0.chunk")
    #expect(first.error.isEmpty && first.totalByteCount == 1_000_000 && first.bytes.count == 512 << 10)
    let second = fetch(service, "data/strip-1/train-0.chunk", offset: 512 << 10)
    #expect([UInt8](first.bytes + second.bytes) == bytes)
    #expect(fetch(service, "data/strip-1/train-0.chunk", offset: 1_000_000).bytes.isEmpty)
    #expect([UInt8](fetch(service, "jobs/7/checkpoints/step-00000010/model.safetensors").bytes) == [1, 2, 3])
    #expect([UInt8](fetch(service, "jobs/7/initial.safetensors").bytes) == [4])
  }

  @Test(
    "names that lead elsewhere are refused",
    arguments: [
      "", "/", "data", "data/strip-1", "data/strip-1/../secret", "data/strip-1/..", "data/../secret/x", "data//x",
      "data/other/x", "/etc/passwd", "../../etc/passwd", "jobs/7/log.txt", "jobs/8/initial.safetensors",
      "jobs/7/checkpoints/../../secret", "jobs/7/checkpoints/step-1/../x", "jobs/7/checkpoints/other/x",
      "data/strip-1/.hidden", "data/strip-1/a\u{0}b", "data/strip-1/missing", "data/strip-1/link",
      "data/strip-1/folder", "jobs/99999999999999999999/initial.safetensors",
    ])
  func traversal(name: String) throws {
    let scratch = try Scratch()
    try scratch.write("secret", [9])
    try scratch.write("set/folder/x", [9])
    try scratch.write("set/.hidden", [9])
    try scratch.write("job/log.txt", [9])
    try FileManager.default.createSymbolicLink(
      atPath: scratch.path + "/set/link", withDestinationPath: scratch.path + "/secret")
    let service = FileService()
    service.register(dataset: "strip-1", directory: scratch.path + "/set")
    service.register(job: JobID(7), directory: scratch.path + "/job")
    let piece = fetch(service, name)
    #expect(!piece.error.isEmpty && piece.bytes.isEmpty)
  }

  @Test("an offset beyond the end is an error, not a trap", arguments: [4, UInt64.max, UInt64(Int64.max)])
  func beyond(offset: UInt64) throws {
    let scratch = try Scratch()
    try scratch.write("set/a", [1, 2, 3])
    let service = FileService()
    service.register(dataset: "s", directory: scratch.path + "/set")
    #expect(fetch(service, "data/s/a", offset: offset).error == "offset \(offset) is beyond its 3 bytes")
  }

  @Test("a log is read page by page, and a line break inside a line does not make two")
  func journal() throws {
    let scratch = try Scratch()
    let journal = JobJournal(directory: scratch.path)
    #expect(journal.page(from: 0).next == 0)
    journal.log(["one", "two\n  hint: x"])
    journal.log(["three"])
    #expect(journal.page(from: 0).lines == ["one", "two | hint: x", "three"])
    #expect(journal.page(from: 2).lines == ["three"])
    #expect(journal.page(from: 3).next == 3)
    journal.log((0..<2_000).map { "line \($0)" })
    #expect(journal.page(from: 0).next == 1_000)
  }

  @Test("metrics are one JSON object a line, with the worker's own JSON inside")
  func metrics() throws {
    let scratch = try Scratch()
    let journal = JobJournal(directory: scratch.path)
    var epoch = WireEpochResult()
    epoch.epoch = 2
    epoch.json = #"{"accuracy":0.5,"classes":["a",null,true]}"#
    journal.metrics(EpochLine(epoch))
    let line = try String(contentsOfFile: journal.metricsPath, encoding: .utf8)
    #expect(
      line == #"{"epoch":2,"generation":0,"imagesPerSecond":0,"kind":"epoch","metrics":"#
        + #"{"accuracy":0.5,"classes":["a",null,true]},"seconds":0,"step":0}"# + "\n")
  }

  // MARK: Checkpoints

  private struct Upload {
    var begin = WireCheckpointBegin()
    var files: [(name: String, bytes: [UInt8])]

    init(step: UInt64, generation: UInt64 = 3, final: Bool = false) throws {
      let tensors: [(name: String, bytes: [UInt8])] = [
        ("model.safetensors", Array(repeating: 7, count: 5_000)), ("state.safetensors", [1, 2, 3]),
      ]
      let manifest = CheckpointManifest(
        job: "strip", step: step, epoch: 2, stepInEpoch: 0, generation: generation, phase: "qat", seed: 1,
        specSHA256: "", datasetIdentity: "", programVersion: "0.1.0",
        files: tensors.map { CheckpointManifest.File(name: $0.name, bytes: $0.bytes) }, stateSHA256: "", isFinal: final)
      files = tensors + [(CheckpointManifest.fileName, try manifest.encoded())]
      begin.job = 1
      begin.generation = generation
      begin.step = step
      begin.final = final
      begin.files = files.map { file in
        var wire = WireCheckpointFile()
        wire.name = file.name
        wire.byteCount = UInt64(file.bytes.count)
        wire.sha256 = SHA256.hexadecimal(of: file.bytes)
        return wire
      }
    }

    func send(to intake: CheckpointIntake) throws {
      for file in files {
        for start in stride(from: 0, to: file.bytes.count, by: 2_000) {
          var piece = WireFilePiece()
          piece.file = file.name
          piece.offset = UInt64(start)
          piece.bytes = Data(file.bytes[start..<min(start + 2_000, file.bytes.count)])
          try intake.append(piece)
        }
      }
    }

    func store(in directory: String, keep: Int = 2) throws -> (record: CheckpointRecord, pruned: [UInt64], path: String)
    {
      let intake = try CheckpointIntake(begin, directory: directory)
      try send(to: intake)
      return try intake.commit(keep: keep)
    }
  }

  @Test("a checkpoint that arrives whole stands under its name and verifies; older ones are pruned")
  func stored() throws {
    let scratch = try Scratch()
    for step in [100, 200] as [UInt64] { _ = try Upload(step: step).store(in: scratch.path) }
    let (record, pruned, path) = try Upload(step: 300).store(in: scratch.path)
    #expect(
      record
        == CheckpointRecord(job: JobID(1), step: 300, epoch: 2, generation: 3, name: "step-00000300", isFinal: false))
    #expect(pruned == [100])
    #expect(try CheckpointReader.verify(path).step == 300)
    #expect(CheckpointDesk.standing(JobID(1), directory: scratch.path).map(\.step) == [200, 300])
  }

  @Test("bytes that differ from the announcement are refused and leave nothing")
  func damaged() throws {
    let scratch = try Scratch()
    var upload = try Upload(step: 100)
    upload.files[0].bytes[4_000] ^= 1
    #expect(throws: CheckpointIntake.Refusal.self) { try upload.store(in: scratch.path) }
    upload = try Upload(step: 100)
    upload.begin.generation = 4
    #expect(throws: CheckpointIntake.Refusal.self) { try upload.store(in: scratch.path) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == [])
  }

  @Test("a piece too many, of an unknown file, or out of order is refused")
  func badPieces() throws {
    let scratch = try Scratch()
    let upload = try Upload(step: 100)
    var piece = WireFilePiece()
    piece.bytes = Data(repeating: 0, count: 10)
    for (file, offset) in [
      ("model.safetensors", 4_995), ("other", 0), ("../x", 0), ("model.safetensors", 100),
      ("model.safetensors", UInt64.max),
    ] as [(String, UInt64)] {
      piece.file = file
      piece.offset = offset
      let intake = try CheckpointIntake(upload.begin, directory: scratch.path)
      #expect(throws: CheckpointIntake.Refusal.self) { try intake.append(piece) }
    }
  }

  @Test("an announcement without a manifest, with a file twice or beyond the limit is refused")
  func badAnnouncement() throws {
    let scratch = try Scratch()
    let good = try Upload(step: 100).begin
    var bad: [WireCheckpointBegin] = []
    for change in [{ $0.removeLast() }, { $0.append($0[0]) }, { $0[0].byteCount = .max }]
      as [(inout [WireCheckpointFile]) -> Void]
    {
      var begin = good
      change(&begin.files)
      bad.append(begin)
    }
    for begin in bad {
      #expect(throws: CheckpointIntake.Refusal.self) { try CheckpointIntake(begin, directory: scratch.path) }
    }
  }

  @Test("one coordinator per directory; the second is told whose it is")
  func lock() throws {
    let scratch = try Scratch()
    let first = try DirectoryLock(path: scratch.path + "/lock")
    let error = #expect(throws: CoordinatorError.self) { try DirectoryLock(path: scratch.path + "/lock") }
    #expect(error?.message == "another coordinator (process \(getpid())) uses this directory")
    #expect(error?.exitCode == 78)
    _ = consume first
    #expect(throws: Never.self) { try DirectoryLock(path: scratch.path + "/lock") }
  }
}
