// A chunk: some samples of one split as one file or message of about 2 MiB.
//
//   offset 0   8 bytes   magic "TMPRCHK1"
//          8   UInt32    sample count N
//         12   UInt32    bytes per sample S
//         16   N UInt16  labels
//    16 + 2N   N*S bytes pixels, NHWC
//   the rest   UInt32    CRC-32 of everything before
//
// All integers little endian.

internal import CZlib

/// The samples of one chunk.
public struct Chunk: Sendable, Hashable {
  /// Most samples in one chunk.
  public static let sampleLimit = 1 << 20
  /// Pixel bytes that a writer puts in a chunk at most, unless one sample is larger.
  public static let targetByteCount = 2 << 20

  /// Labels, one per sample.
  public var labels: [UInt16]
  /// Pixels, NHWC, one byte per channel.
  public var pixels: [UInt8]

  /// Makes a chunk; `pixels.count` must be a multiple of `labels.count`.
  public init(labels: [UInt16], pixels: [UInt8]) {
    precondition(
      !labels.isEmpty && pixels.count % labels.count == 0, "\(pixels.count) pixel bytes for \(labels.count) labels")
    self.labels = labels
    self.pixels = pixels
  }

  static let headerByteCount = 16
  private static let magic = Array("TMPRCHK1".utf8)

  /// Length of an encoded chunk.
  static func byteCount(samples: Int, sampleByteCount: Int) -> Int {
    headerByteCount + samples * (2 + sampleByteCount) + 4
  }

  /// The chunk as bytes, checksum included.
  public func encoded() -> [UInt8] {
    let sampleByteCount = pixels.count / labels.count
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.byteCount(samples: labels.count, sampleByteCount: sampleByteCount))
    bytes += Self.magic
    bytes += Self.littleEndian(UInt32(labels.count))
    bytes += Self.littleEndian(UInt32(sampleByteCount))
    for label in labels {
      bytes.append(UInt8(truncatingIfNeeded: label))
      bytes.append(UInt8(truncatingIfNeeded: label >> 8))
    }
    bytes += pixels
    bytes += Self.littleEndian(Self.checksum(bytes[...]))
    return bytes
  }

  /// Reads a chunk; the length is checked before anything is allocated, the checksum before anything is believed.
  ///
  /// - Parameters:
  ///   - bytes: A whole chunk from a disk or a peer.
  ///   - location: File or peer, for messages.
  /// - Throws: `DataError` `.damaged` when the length, the magic or the checksum is wrong.
  public static func decode(_ bytes: [UInt8], location: String = "chunk") throws(DataError) -> Chunk {
    func damaged(_ message: String) -> DataError {
      DataError(code: .damaged, message: message, hint: "fetch or make the chunk again", location: location)
    }
    guard bytes.count >= headerByteCount + 4, Array(bytes[0..<8]) == magic else {
      throw damaged("\(bytes.count) bytes that do not start like a chunk")
    }
    let sampleCount = Int(word(bytes, at: 8))
    let sampleByteCount = Int(word(bytes, at: 12))
    guard (1...sampleLimit).contains(sampleCount), sampleByteCount >= 1,
      bytes.count == byteCount(samples: sampleCount, sampleByteCount: sampleByteCount)
    else {
      throw damaged("\(bytes.count) bytes do not fit \(sampleCount) samples of \(sampleByteCount) bytes")
    }
    let stored = word(bytes, at: bytes.count - 4)
    let actual = checksum(bytes[..<(bytes.count - 4)])
    guard stored == actual else {
      throw damaged("CRC-32 is \(hexadecimal(actual)), the chunk says \(hexadecimal(stored))")
    }
    let pixelStart = headerByteCount + 2 * sampleCount
    let labels = (0..<sampleCount).map {
      UInt16(bytes[headerByteCount + 2 * $0]) | UInt16(bytes[headerByteCount + 2 * $0 + 1]) << 8
    }
    return Chunk(labels: labels, pixels: Array(bytes[pixelStart..<(bytes.count - 4)]))
  }

  /// The checksum that an encoded chunk ends with.
  static func storedChecksum(_ encoded: [UInt8]) -> UInt32 { word(encoded, at: encoded.count - 4) }

  static func hexadecimal(_ checksum: UInt32) -> String {
    let digits = String(checksum, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }

  static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.withUnsafeBufferPointer { UInt32(truncatingIfNeeded: crc32_z(0, $0.baseAddress, $0.count)) }
  }

  private static func littleEndian(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * $1) }
  }
}
