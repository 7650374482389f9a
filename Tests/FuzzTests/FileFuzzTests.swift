// Decoders of files: specs, manifests, safetensors, chunks, IDX, gzip, key files.
import Checkpoint
import Communication
import Foundation
import Graph
import JobSpec
import Testing

@testable import Data

@Suite("Damaged files are refused in words")
struct FileFuzzTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  @Test("job specifications")
  func specs() throws {
    let folder = Self.root.appendingPathComponent("Jobs")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".yaml") }
    let corpus = try names.sorted().map { [UInt8](try Foundation.Data(contentsOf: folder.appendingPathComponent($0))) }
    let counts = try Fuzz.run("spec", corpus) {
      _ = try JobSpec.parse(String(decoding: $0, as: UTF8.self), file: "job.yaml").resolvedYAML()
    } isOwn: {
      $0 is JobSpecErrors
    }
    #expect(counts.refused > counts.accepted)
  }

  @Test("specifications that are deep, that refer to themselves or grow when read end at once")
  func hostileSpecs() {
    let bomb = (1...30).map {
      "a\($0): &a\($0) [\(Array(repeating: $0 == 1 ? "x" : "*a\($0 - 1)", count: 9).joined(separator: ", "))]\n"
    }
    let texts = [
      String(repeating: "[", count: 200_000), String(repeating: "{a: ", count: 100_000),
      String(repeating: "- ", count: 100_000), "version: 1\n" + bomb.joined(), "a: &a [*a]\n", "&a : *a\n",
      "version: 1\nname: " + String(repeating: "x", count: 1 << 20),
    ]
    for text in texts {
      let start = ContinuousClock.now
      #expect(throws: JobSpecErrors.self) { try JobSpec.parse(text, file: "job.yaml") }
      #expect(ContinuousClock.now - start < .seconds(5), "\(text.prefix(20))")
    }
  }

  @Test("safetensors: initial weights and states from peers")
  func safetensors() throws {
    let tensors = try [
      NamedTensor(name: "a.weight", shape: [2, 3], elementType: .float32, bytes: Array(repeating: 7, count: 24)),
      NamedTensor(name: "b", shape: [], elementType: .uint64, bytes: Array(repeating: 1, count: 8)),
      NamedTensor(name: "c", shape: [0, 5], elementType: .int8, bytes: []),
    ]
    let corpus = try [
      Safetensors.encode(tensors, metadata: ["k": "v"]), Safetensors.encode([]), Safetensors.encode([tensors[0]]),
    ]
    let counts = try Fuzz.run("safetensors", corpus) {
      for tensor in try Safetensors.decode($0, location: "w") { _ = tensor.bytes.count }
    } isOwn: {
      $0 is CheckpointError
    }
    #expect(counts.refused > counts.accepted)
  }

  @Test("checkpoint manifests; no name in them leads out of the checkpoint")
  func checkpointManifests() throws {
    let manifest = CheckpointManifest(
      job: "j", step: 3, epoch: 1, stepInEpoch: 3, generation: 1, phase: "fp32", seed: 1, specSHA256: "s",
      datasetIdentity: "d", programVersion: "1", files: [.init(name: "model.safetensors", bytes: [1])],
      stateSHA256: "x", isFinal: false)
    _ = try Fuzz.run("checkpoint manifest", [try manifest.encoded()]) {
      for file in try CheckpointManifest.decode($0, location: "m").files {
        #expect(!file.name.contains("/") && !file.name.hasPrefix("."))
      }
    } isOwn: {
      $0 is CheckpointError
    }
  }

  @Test("stores: manifests whose names stay in their folder, chunks with right and wrong checksums")
  func stores() throws {
    let folder = NSTemporaryDirectory() + "temper-fuzz-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let writer = try StoreWriter(
      directory: folder, name: "set", height: 3, width: 2, channels: 1, classNames: ["a", "b"])
    let chunk = Chunk(labels: [0, 1, 1], pixels: (0..<18).map { UInt8($0) })
    for split in Split.allCases { try writer.append(chunk, to: split) }
    let manifest = try writer.finish().manifest
    _ = try Fuzz.run("store manifest", [manifest.encoded()]) {
      let decoded = try StoreManifest.decode($0)
      for entry in decoded.train.chunks + decoded.test.chunks { #expect(!entry.file.contains("/")) }
    } isOwn: {
      $0 is DataError
    }
    let address = ChunkAddress(split: .train, index: 0)
    _ = try Fuzz.run("chunk", [chunk.encoded()], repair: Self.withChecksum) {
      _ = try Chunk.decode($0)
      try DatasetAssembler(manifest: manifest).add($0, at: address)
    } isOwn: {
      $0 is DataError
    }
  }

  private static func withChecksum(_ bytes: [UInt8]) -> [UInt8] {
    guard bytes.count >= 4 else { return bytes }
    let sum = Chunk.checksum(bytes[..<(bytes.count - 4)])
    return bytes.dropLast(4) + (0..<4).map { UInt8(truncatingIfNeeded: sum >> (8 * UInt32($0))) }
  }

  @Test("IDX and gzip, which may not inflate beyond its limit")
  func imports() throws {
    let images: [UInt8] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2] + (0..<8)
    _ = try Fuzz.run("idx", [images]) {
      _ = try IDXImporter.decode($0, dimensions: 3, location: "i")
    } isOwn: {
      $0 is DataError
    }
    // gzip of 64 KiB zeros.
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "head -c 65536 /dev/zero | gzip -n"]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let packed = [UInt8](pipe.fileHandleForReading.readDataToEndOfFile())
    process.waitUntilExit()
    _ = try Fuzz.run("gzip", [packed]) {
      let inflated = try Gzip.inflate($0, limit: 1 << 20, location: "g")
      #expect(inflated.count <= 1 << 20)
    } isOwn: {
      $0 is DataError
    }
    #expect(throws: DataError.self) { try Gzip.inflate(packed, limit: 1_000, location: "g") }
  }

  @Test("keys, lists of keys and tokens")
  func keys() throws {
    let folder = NSTemporaryDirectory() + "temper-fuzz-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let registry = try KeyRegistry.make(directory: folder).registry
    try registry.enroll(name: "m", role: .worker, key: CurveKeyPair.make().publicKey)
    let token = try registry.issueToken(name: "n", role: .worker, validFor: .seconds(60))
    let list = [UInt8](try Foundation.Data(contentsOf: URL(fileURLWithPath: registry.folder + "/enrolled.json")))
    let own = { (error: any Error) in error is CommunicationError }
    _ = try Fuzz.run("list of keys", [list]) {
      _ = try KeyRegistry.decode($0, path: "p").principals(atUnixSeconds: 1)
    } isOwn: {
      own($0)
    }
    _ = try Fuzz.run("token", [Array(token.text.utf8)]) {
      _ = try EnrollmentToken(String(decoding: $0, as: UTF8.self))
    } isOwn: {
      own($0)
    }
    let file = [UInt8](try Foundation.Data(contentsOf: URL(fileURLWithPath: registry.folder + "/coordinator.key")))
    _ = try Fuzz.run("key file", [file]) {
      _ = try KeyFile.decode($0, path: "k")
    } isOwn: {
      own($0)
    }
  }
}
