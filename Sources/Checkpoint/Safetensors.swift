// Tensors as safetensors files (https://github.com/huggingface/safetensors): 8 bytes with the length of a JSON header, the
// header, the data. Written byte for byte as the reference implementation does: element types in its order, wide ones first, then
// names; header padded to 8 bytes. So the same tensors always make the same file, and every tensor is aligned to its element.

import Foundation
public import Graph

/// Encodes and decodes safetensors.
public enum Safetensors {
  /// The longest header accepted; the reference implementation's limit.
  public static let maximumHeaderByteCount = 100_000_000

  /// Where a tensor lies in a file.
  public struct Entry: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Type of its elements.
    public var elementType: NamedTensor.ElementType
    /// Extents, outermost first.
    public var shape: [Int]
    /// Bytes from the end of the header.
    public var range: Range<Int>
  }

  /// The file of some tensors and words about them.
  ///
  /// - Throws: `misuse` when two tensors have the same name, or one is called `__metadata__`.
  public static func encode(_ tensors: [NamedTensor], metadata: [String: String] = [:]) throws -> [UInt8] {
    let sorted = tensors.sorted {
      let (left, right) = (place(of: $0.elementType), place(of: $1.elementType))
      return left == right ? $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) : left < right
    }
    var names: Set<String> = ["__metadata__"]
    var fields: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(quoted($0.value))" }
      fields.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for tensor in sorted {
      guard names.insert(tensor.name).inserted else {
        throw CheckpointError(.misuse, "two tensors of this name", location: tensor.name)
      }
      let end = offset + tensor.bytes.count
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      fields.append(
        "\(quoted(tensor.name)):{\"dtype\":\"\(code(of: tensor.elementType))\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var header = Array("{\(fields.joined(separator: ","))}".utf8)
    header += [UInt8](repeating: UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(8 + header.count + offset)
    withUnsafeBytes(of: UInt64(header.count).littleEndian) { bytes += $0 }
    bytes += header
    for tensor in sorted { bytes += tensor.bytes }
    return bytes
  }

  /// The tensors of a file in memory, in order of their data.
  ///
  /// - Parameters:
  ///   - bytes: the whole file.
  ///   - location: the name for errors.
  /// - Throws: `damaged` or `unsupported`, naming the tensor; never traps, whatever the bytes.
  public static func decode(_ bytes: [UInt8], location: String) throws -> [NamedTensor] {
    let start = try headerEnd(bytes, totalByteCount: bytes.count, location: location)
    let entries = try entries(header: bytes[8..<start], dataByteCount: bytes.count - start, location: location)
    return try entries.map { entry in
      let data = Array(bytes[start + entry.range.lowerBound..<start + entry.range.upperBound])
      return try tensor(entry, data, location: location)
    }
  }

  /// Where the data begins, from the first 8 bytes.
  static func headerEnd(_ bytes: [UInt8], totalByteCount: Int, location: String) throws -> Int {
    guard bytes.count >= 8 else { throw damaged("\(totalByteCount) bytes are too few for a header", location) }
    let length = bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
    guard length <= UInt64(maximumHeaderByteCount), Int(length) <= totalByteCount - 8 else {
      throw damaged("the header says it has \(length) bytes; the file has \(totalByteCount)", location)
    }
    return 8 + Int(length)
  }

  /// The tensors that a header describes, checked against each other and the amount of data, in order of their data.
  static func entries(header: ArraySlice<UInt8>, dataByteCount: Int, location: String) throws -> [Entry] {
    let parsed: Header
    do { parsed = try JSONDecoder().decode(Header.self, from: Data(header)) } catch {
      throw CheckpointError(.damaged, "the header cannot be read", location: location, cause: error)
    }
    var entries: [Entry] = []
    for (name, fields) in parsed.tensors {
      guard let type = elementType(of: fields.dtype) else {
        throw CheckpointError(
          .unsupported, "elements of type \(fields.dtype)", hint: "convert it to F32, F16, I8, U8, I32, I64 or U64",
          location: "\(location): \(name)")
      }
      guard fields.offsets.count == 2, fields.offsets[0] >= 0, fields.offsets[0] <= fields.offsets[1],
        fields.offsets[1] <= dataByteCount
      else { throw damaged("data at \(fields.offsets) of \(dataByteCount) bytes", "\(location): \(name)") }
      let range = fields.offsets[0]..<fields.offsets[1]
      guard NamedTensor.byteCount(shape: fields.shape, elementType: type) == range.count else {
        throw damaged(
          "\(fields.dtype) of shape \(fields.shape) does not take \(range.count) bytes", "\(location): \(name)")
      }
      entries.append(Entry(name: name, elementType: type, shape: fields.shape, range: range))
    }
    entries.sort {
      ($0.range.lowerBound, $0.range.upperBound, $0.name) < ($1.range.lowerBound, $1.range.upperBound, $1.name)
    }
    var next = 0
    for entry in entries {
      guard entry.range.lowerBound == next else {
        throw damaged(
          "data begins at \(entry.range.lowerBound); the tensor before ends at \(next)", "\(location): \(entry.name)")
      }
      next = entry.range.upperBound
    }
    guard next == dataByteCount else {
      throw damaged("\(dataByteCount) bytes of data for tensors of \(next)", location)
    }
    return entries
  }

  static func tensor(_ entry: Entry, _ bytes: [UInt8], location: String) throws -> NamedTensor {
    do {
      return try NamedTensor(name: entry.name, shape: entry.shape, elementType: entry.elementType, bytes: bytes)
    } catch {
      throw CheckpointError(.damaged, "it cannot be read", location: "\(location): \(entry.name)", cause: error)
    }
  }

  private static func damaged(_ message: String, _ location: String) -> CheckpointError {
    CheckpointError(.damaged, message, hint: "use another copy of the file", location: location)
  }

  /// Element types in the order in which the reference implementation writes them.
  private static let codes: [(NamedTensor.ElementType, String)] = [
    (.uint64, "U64"), (.int64, "I64"), (.float32, "F32"), (.int32, "I32"), (.float16, "F16"), (.int8, "I8"),
    (.uint8, "U8"),
  ]

  private static func place(of type: NamedTensor.ElementType) -> Int {
    codes.firstIndex { $0.0 == type } ?? codes.count
  }
  private static func code(of type: NamedTensor.ElementType) -> String { codes.first { $0.0 == type }?.1 ?? "" }
  private static func elementType(of code: String) -> NamedTensor.ElementType? { codes.first { $0.1 == code }?.0 }

  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += "\\\(scalar)"
      case "\n": quoted += "\\n"
      case "\r": quoted += "\\r"
      case "\t": quoted += "\\t"
      case "\u{8}": quoted += "\\b"
      case "\u{C}": quoted += "\\f"
      case _ where scalar.value < 32:
        quoted += "\\u" + String(repeating: "0", count: scalar.value < 16 ? 3 : 2) + String(scalar.value, radix: 16)
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }

  /// The JSON of a header: one object per tensor, and words under `__metadata__`.
  private struct Header: Decodable {
    struct Fields: Decodable {
      var dtype: String
      var shape: [Int]
      var offsets: [Int]
      enum CodingKeys: String, CodingKey {
        case dtype, shape
        case offsets = "data_offsets"
      }
    }

    struct Name: CodingKey {
      var stringValue: String
      var intValue: Int? { nil }
      init(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    var tensors: [(String, Fields)] = []

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Name.self)
      for name in container.allKeys where name.stringValue != "__metadata__" {
        tensors.append((name.stringValue, try container.decode(Fields.self, forKey: name)))
      }
    }
  }
}
