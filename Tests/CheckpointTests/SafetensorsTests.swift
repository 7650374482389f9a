import Foundation
import Graph
import Testing

@testable import Checkpoint

@Suite("Safetensors")
struct SafetensorsTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
    "Golden")
  private static let metadata = ["format": "pt", "quote": "a \"word\" \\ and a\nline"]

  /// What Golden/make_safetensors.py writes.
  private func tensors() throws -> [NamedTensor] {
    [
      NamedTensor(name: "layer1.0.conv1.weight", shape: [1, 2, 3], floats: (0..<6).map { Float($0) / 4 - 0.5 }),
      try NamedTensor(name: "half", shape: [3], elementType: .float16, bytes: [0x00, 0x3C, 0x00, 0xC1, 0xFF, 0x7B]),
      NamedTensor(name: "quantized", shape: [1, 3], int8s: [-127, 0, 127]),
      try NamedTensor(name: "unsigned", shape: [2], elementType: .uint8, bytes: [0, 255]),
      try NamedTensor(
        name: "narrow", shape: [2], elementType: .int32, bytes: [0, 0, 0, 0x80, 0xFF, 0xFF, 0xFF, 0x7F]),
      NamedTensor(name: "bn1.num_batches_tracked", shape: [], int64s: [1_234_567_890_123]),
      NamedTensor(name: "wide", shape: [1], uint64s: [.max]),
      NamedTensor(name: "empty", shape: [0, 3], floats: []),
    ]
  }

  private func golden() throws -> [UInt8] {
    [UInt8](try Data(contentsOf: Self.folder.appendingPathComponent("tiny.safetensors")))
  }

  @Test("the reference implementation's file is read")
  func readsReference() throws {
    let decoded = try Safetensors.decode(try golden(), location: "tiny")
    #expect(decoded.sorted { $0.name < $1.name } == (try tensors()).sorted { $0.name < $1.name })
  }

  @Test("the file written is the reference implementation's byte for byte, whatever the order of the tensors")
  func writesReference() throws {
    #expect(try Safetensors.encode(try tensors(), metadata: Self.metadata) == golden())
    #expect(try Safetensors.encode(try tensors().reversed(), metadata: Self.metadata) == golden())
  }

  /// Of the virtual environment that `make parity` makes.
  static let python = [".venv/bin/python"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  @Test("Python's safetensors reads what is written", .enabled(if: python != nil, "no Python with safetensors here"))
  func pythonReads() throws {
    let path = NSTemporaryDirectory() + "temper-\(UUID().uuidString).safetensors"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var all = try tensors()
    all.append(NamedTensor(name: "näme \"q\"\u{1}", shape: [2, 1], floats: [1, .nan]))
    try Data(try Safetensors.encode(all, metadata: Self.metadata)).write(to: URL(fileURLWithPath: path))
    let process = Process()
    process.executableURL = URL(fileURLWithPath: Self.python ?? "")
    process.arguments = [Self.folder.appendingPathComponent("read_safetensors.py").path, path]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let lines = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self).split(
      separator: "\n")
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    func hexadecimal(_ bytes: some Sequence<UInt8>) -> String { bytes.map { String(format: "%02x", $0) }.joined() }
    for tensor in all {
      let shape = tensor.shape.map(String.init).joined(separator: "x")
      let line = "\(hexadecimal(tensor.name.utf8)) \(tensor.elementType.rawValue) \(shape) \(hexadecimal(tensor.bytes))"
      #expect(lines.contains { $0 == line || $0 == line.dropLast(tensor.bytes.isEmpty ? 1 : 0) }, "\(tensor.name)")
    }
    #expect(lines.count == all.count + 2)
  }

  @Test("every truncation and every flipped bit of the header is refused or yields well-formed tensors; nothing traps")
  func mutations() throws {
    let bytes = try golden()
    for length in 0..<bytes.count {
      #expect(throws: CheckpointError.self) { try Safetensors.decode(Array(bytes[..<length]), location: "x") }
    }
    let headerEnd = try Safetensors.headerEnd(bytes, totalByteCount: bytes.count, location: "x")
    for index in 0..<headerEnd {
      for bit in 0..<8 {
        var mutated = bytes
        mutated[index] ^= 1 << bit
        guard let decoded = try? Safetensors.decode(mutated, location: "x") else { continue }
        for tensor in decoded {
          #expect(NamedTensor.byteCount(shape: tensor.shape, elementType: tensor.elementType) == tensor.bytes.count)
        }
      }
    }
  }

  private func file(_ header: String, data: Int = 0) -> [UInt8] {
    withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
      + [UInt8](repeating: 0, count: data)
  }

  @Test(
    "headers that lie are refused with the tensor and the values",
    arguments: [
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#, 8, "F32 of shape [1] does not take 8 bytes"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "data begins at 4; the tensor before ends at 0"),
      (
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        4,
        "data begins at 0; the tensor before ends at 4"
      ),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8, "8 bytes of data for tensors of 4"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 3, "data at [0, 4] of 3 bytes"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "data at [4, 0] of 4 bytes"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, 4, "data at [0] of 4 bytes"),
      (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "F32 of shape [-1] does not take 4 bytes"),
      (#"{"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,4]}}"#, 4, "does not take 4 bytes"),
      (#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#, 4, "elements of type BF16"),
      (#"[1]"#, 0, "the header cannot be read"), (#"{"a":3}"#, 0, "the header cannot be read"),
      ("\u{0}\u{0}", 0, "the header cannot be read"),
      (String(repeating: "[", count: 100_000), 0, "the header cannot be read"),
    ])
  func lies(header: String, data: Int, message: String) throws {
    let error = try #require(throws: CheckpointError.self) {
      try Safetensors.decode(file(header, data: data), location: "x.safetensors")
    }
    #expect(error.message.contains(message), "\(error)")
    #expect(error.location.hasPrefix("x.safetensors"))
  }

  @Test("a header longer than the file or the limit is refused before anything is read")
  func headerLength() {
    for length in [UInt64(1), 100_000_001, .max, 1 << 63] {
      let bytes = withUnsafeBytes(of: length.littleEndian) { Array($0) }
      #expect(throws: CheckpointError.self) { try Safetensors.decode(bytes, location: "x") }
    }
  }

  @Test("two tensors of one name, or one called __metadata__, are refused")
  func names() throws {
    let tensor = NamedTensor(name: "a", shape: [], floats: [1])
    #expect(throws: CheckpointError.self) { try Safetensors.encode([tensor, tensor]) }
    #expect(throws: CheckpointError.self) { try Safetensors.encode([tensor.renamed("__metadata__")]) }
    #expect(try Safetensors.decode(try Safetensors.encode([]), location: "x").isEmpty)
  }

  @Test("a file is read tensor by tensor")
  func streaming() throws {
    let file = try SafetensorsFile(path: Self.folder.appendingPathComponent("tiny.safetensors").path)
    #expect(file.entries.count == 8)
    for tensor in try tensors() { #expect(try file.tensor(named: tensor.name) == tensor) }
    let error = try #require(throws: CheckpointError.self) { try file.tensor(named: "fc.weight") }
    #expect(error.code == .missing && error.location.hasSuffix("tiny.safetensors: fc.weight"))
    #expect(throws: CheckpointError.self) { try SafetensorsFile(path: "/no/such/file") }
  }
}
