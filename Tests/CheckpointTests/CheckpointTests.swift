import Foundation
import Graph
import Testing

@testable import Checkpoint

@Suite("Checkpoints")
final class CheckpointTests {
  let directory = NSTemporaryDirectory() + "temper-checkpoints-\(UUID().uuidString)"

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  private func manifest(step: UInt64, isFinal: Bool = false) -> CheckpointManifest {
    CheckpointManifest(
      job: "strip", step: step, epoch: 3, stepInEpoch: 4, generation: 5, phase: "qat", seed: .max, specSHA256: "aa",
      datasetIdentity: "bb", programVersion: "0.1", files: [], stateSHA256: "cc", isFinal: isFinal)
  }

  private func files(_ seed: Int) throws -> [(name: String, bytes: [UInt8])] {
    let model = NamedTensor(name: "conv1.weight", shape: [300], floats: (0..<300).map { Float($0 + seed) })
    let state = NamedTensor(name: "momentum", shape: [1], floats: [Float(seed)])
    return [
      ("model.safetensors", try Safetensors.encode([model])), ("state.safetensors", try Safetensors.encode([state])),
    ]
  }

  @discardableResult
  private func write(step: UInt64, isFinal: Bool = false) throws -> String {
    try CheckpointWriter.write(
      directory: directory, files: try files(Int(step)), manifest: manifest(step: step, isFinal: isFinal))
  }

  private func names(_ path: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }

  @Test("a checkpoint is written, verified and read back")
  func roundTrip() throws {
    let path = try write(step: 1_234)
    #expect(path == directory + "/step-00001234")
    #expect(names(directory) == ["step-00001234"])
    #expect(names(path) == ["manifest.json", "model.safetensors", "state.safetensors"])
    let verified = try CheckpointReader.verify(path)
    #expect(
      verified.step == 1_234 && verified.seed == .max
        && verified.files.map(\.name) == ["model.safetensors", "state.safetensors"])
    let tensors = try CheckpointReader.tensors(path, file: "model.safetensors")
    #expect(try tensors[0].floats()[299] == Float(299 + 1_234))
    #expect(throws: CheckpointError.self) { try CheckpointReader.tensors(path, file: "../manifest.json") }
  }

  @Test("pieces may come twice, must not be missing, and lead to the same checkpoint")
  func pieces() throws {
    let files = try files(7)
    var manifest = manifest(step: 7)
    manifest.files = files.map { CheckpointManifest.File(name: $0.name, bytes: $0.bytes) }
    let writer = try CheckpointWriter(directory: directory, step: 7)
    for file in files {
      for start in stride(from: 0, to: file.bytes.count, by: 100) {
        let piece = Array(file.bytes[start..<min(start + 100, file.bytes.count)])
        try writer.append(file: file.name, offset: start, bytes: piece)
        try writer.append(file: file.name, offset: start, bytes: piece)
      }
      #expect(writer.byteCount(of: file.name) == file.bytes.count)
    }
    try CheckpointReader.verify(try writer.commit(manifest))
    let gap = try CheckpointWriter(directory: directory, step: 8)
    let error = try #require(throws: CheckpointError.self) { try gap.append(file: "x", offset: 5, bytes: [1]) }
    #expect(error.message == "a piece at 5; the file has 0 bytes")
    #expect(names(directory) == ["step-00000007"])
  }

  @Test(
    "names that lead elsewhere are refused and leave nothing",
    arguments: ["../x", "a/b", "", ".x", "a b", "ä", String(repeating: "x", count: 129)])
  func badNames(name: String) throws {
    let writer = try CheckpointWriter(directory: directory, step: 1)
    let error = try #require(throws: CheckpointError.self) { try writer.append(file: name, offset: 0, bytes: [1]) }
    #expect(error.code == .invalidName)
    #expect(names(directory).isEmpty)
    var lying = manifest(step: 1)
    lying.files = [CheckpointManifest.File(name: name, bytes: [])]
    #expect(throws: CheckpointError.self) { try CheckpointManifest.decode(try lying.encoded(), location: "m") }
  }

  @Test("files that differ from the manifest are named, and the checkpoint does not come to be")
  func differs() throws {
    var manifest = manifest(step: 3)
    manifest.files = [
      CheckpointManifest.File(name: "a", bytes: [1, 2]), CheckpointManifest.File(name: "b", bytes: []),
    ]
    for (content, message) in [
      (["a": [1, 3], "b": []], "2 bytes with SHA-256"), (["a": [1], "b": []], "1 bytes with SHA-256"),
      (["a": [1, 2]], "b is in the manifest but never came"),
      (["a": [1, 2], "b": [], "c": [UInt8(1)]], "c is not in the manifest"),
    ] as [([String: [UInt8]], String)] {
      let writer = try CheckpointWriter(directory: directory, step: 3)
      for (name, bytes) in content { try writer.append(file: name, offset: 0, bytes: bytes) }
      let error = try #require(throws: CheckpointError.self) { try writer.commit(manifest) }
      #expect(error.code == .damaged && error.message.contains(message), "\(error)")
      #expect(names(directory).isEmpty)
    }
  }

  @Test("a full disk is reported with path and bytes, and leaves nothing but the older checkpoint")
  func fullDisk() throws {
    try write(step: 1)
    let writer = try CheckpointWriter(directory: directory, step: 2) { _ in open("/dev/full", O_WRONLY | O_CLOEXEC) }
    let error = try #require(throws: CheckpointError.self) {
      try writer.append(file: "model.safetensors", offset: 0, bytes: [UInt8](repeating: 1, count: 4_000))
    }
    #expect(error.code == .diskFull)
    #expect(error.message == "writing 4000 bytes: No space left on device")
    #expect(error.location == directory + "/step-00000002.tmp/model.safetensors")
    #expect(names(directory) == ["step-00000001"])
    #expect(throws: CheckpointError.self) { try writer.commit(manifest(step: 2)) }
  }

  @Test("truncated, flipped, missing and half-made checkpoints are named and passed over for the one before")
  func damaged() throws {
    for step in 1...6 { try write(step: UInt64(step)) }
    func path(_ step: Int, _ file: String) -> String { "\(directory)/step-0000000\(step)/\(file)" }
    var model = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(6, "model.safetensors"))))
    model[model.count / 2] ^= 1
    try Data(model).write(to: URL(fileURLWithPath: path(6, "model.safetensors")))
    try Data(model.dropLast()).write(to: URL(fileURLWithPath: path(5, "model.safetensors")))
    try FileManager.default.removeItem(atPath: path(4, "state.safetensors"))
    try Data("{\"formatVersion\": 2}".utf8).write(to: URL(fileURLWithPath: path(3, "manifest.json")))
    try FileManager.default.createDirectory(atPath: directory + "/step-00000009.tmp", withIntermediateDirectories: true)
    let store = CheckpointStore(directory: directory)
    let newest = store.newest()
    #expect(newest.found?.manifest.step == 2)
    #expect(newest.damaged.map(\.code) == [.damaged, .damaged, .missing, .unsupported])
    #expect(newest.damaged[0].location == path(6, "model.safetensors"))
    #expect(newest.damaged[0].message.contains("its SHA-256 is"))
    #expect(newest.damaged[1].message.contains("the manifest says"))
    #expect(newest.damaged[2].location == path(4, "state.safetensors"))
    #expect(newest.damaged[3].message == "format version 2; this program reads 1")
    // Keeping two by number would leave two damaged ones; the last whole one stays as well.
    #expect(try store.prune(keep: 2).count == 3)
    #expect(store.list().map(\.step) == [6, 5, 2])
    try store.removeUnfinished()
    #expect(names(directory) == ["step-00000002", "step-00000005", "step-00000006"])
  }

  @Test("every flipped byte of a manifest is found or harmless; nothing traps")
  func manifestMutations() throws {
    var manifest = manifest(step: 3)
    manifest.files = [CheckpointManifest.File(name: "a", bytes: [1, 2])]
    let bytes = try manifest.encoded()
    #expect(try CheckpointManifest.decode(bytes, location: "m") == manifest)
    for index in bytes.indices {
      for bit in 0..<8 {
        var mutated = bytes
        mutated[index] ^= 1 << bit
        _ = try? CheckpointManifest.decode(mutated, location: "m")
      }
      #expect(throws: CheckpointError.self) { try CheckpointManifest.decode(Array(bytes[..<index]), location: "m") }
    }
  }

  @Test("pruning keeps the newest and every final one")
  func pruning() throws {
    for step in 1...5 { try write(step: UInt64(step), isFinal: step == 2) }
    let store = CheckpointStore(directory: directory)
    #expect(try store.prune(keep: 2).map { $0.suffix(1) } == ["3", "1"])
    #expect(store.list().map(\.step) == [5, 4, 2])
    #expect(try store.prune(keep: 0).map { $0.suffix(1) } == ["4"])
    #expect(try CheckpointStore(directory: directory + "/none").prune(keep: 1).isEmpty)
    #expect(CheckpointStore(directory: directory + "/none").newest().found == nil)
  }

  @Test("a step written again: the same is kept, a damaged one replaced, a final one replaces one that was not")
  func again() throws {
    let path = try write(step: 4)
    func inode() throws -> Int {
      try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int ?? 0
    }
    let first = try inode()
    try write(step: 4)
    #expect(try inode() == first)
    try write(step: 4, isFinal: true)
    #expect(try CheckpointReader.verify(path).isFinal)
    try write(step: 4)
    #expect(try CheckpointReader.verify(path).isFinal)
    try FileManager.default.removeItem(atPath: path + "/model.safetensors")
    try write(step: 4)
    try CheckpointReader.verify(path)
    #expect(names(directory) == ["step-00000004"])
  }
}
