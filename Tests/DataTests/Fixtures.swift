// Small data and folders that the tests share.

import CZlib
import Foundation
import JobSpec
import Testing

@testable import Data

/// A folder that is removed when the value goes away.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "temper-data-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ bytes: [UInt8], _ name: String) throws {
    try Foundation.Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }
}

/// Repeatable numbers for damaging bytes.
struct Dice {
  var state: UInt64

  mutating func roll(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }
}

/// Pixels that tell sample, row, column and channel apart.
func sampleSet(count: Int, height: Int, width: Int, channels: Int, classCount: Int = 3) -> SampleSet {
  let pixels = (0..<(count * height * width * channels)).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ $0 >> 8) }
  return SampleSet(
    pixels: pixels, labels: (0..<count).map { UInt16($0 % classCount) }, height: height, width: width,
    channels: channels, classCount: classCount)
}

/// The code of the error that a body throws, or nil.
func code<Value>(_ body: () throws(DataError) -> Value) -> DataError.Code? {
  do throws(DataError) {
    _ = try body()
    return nil
  } catch {
    return error.code
  }
}

/// The words of the error that a body throws, or nil.
func words<Value>(_ body: () throws(DataError) -> Value) -> String? {
  do throws(DataError) {
    _ = try body()
    return nil
  } catch {
    return error.description
  }
}

/// Gzip of some bytes.
func gzip(_ bytes: [UInt8]) -> [UInt8] {
  var stream = z_stream()
  let size = Int32(MemoryLayout<z_stream>.size)
  precondition(deflateInit2_(&stream, 6, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, size) == Z_OK)
  defer { deflateEnd(&stream) }
  var input = bytes
  var output = [UInt8](repeating: 0, count: bytes.count + 256)
  let capacity = output.count
  let left = input.withUnsafeMutableBufferPointer { source in
    output.withUnsafeMutableBufferPointer { target in
      stream.next_in = source.baseAddress
      stream.avail_in = uInt(source.count)
      stream.next_out = target.baseAddress
      stream.avail_out = uInt(capacity)
      precondition(deflate(&stream, Z_FINISH) == Z_STREAM_END)
      return Int(stream.avail_out)
    }
  }
  return Array(output.dropLast(left))
}

/// An IDX file of bytes.
func idx(_ dimensions: [Int], _ values: [UInt8]) -> [UInt8] {
  let sizes = dimensions.flatMap { size in (0..<4).map { UInt8(truncatingIfNeeded: size >> (24 - 8 * $0)) } }
  return [0, 0, 8, UInt8(dimensions.count)] + sizes + values
}
