// Inflates gzip in memory, with a limit against bombs and a clear word about truncation.

internal import CZlib

enum Gzip {
  /// Inflates one gzip member.
  ///
  /// - Parameters:
  ///   - bytes: The whole file.
  ///   - limit: Most bytes that may come out.
  ///   - location: File, for messages.
  /// - Throws: `DataError` `.damaged` when the file is truncated, damaged (CRC-32 included), too large, or not gzip.
  static func inflate(_ bytes: [UInt8], limit: Int, location: String) throws(DataError) -> [UInt8] {
    func damaged(_ message: String) -> DataError {
      DataError(code: .damaged, message: message, hint: "fetch the file again", location: location)
    }
    var stream = z_stream()
    // 16 + 15: gzip only, largest window.
    guard inflateInit2_(&stream, 16 + 15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      throw damaged("zlib cannot start")
    }
    defer { inflateEnd(&stream) }
    var input = bytes
    var output: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 1 << 18)
    var status = Z_OK
    var consumed = 0
    while status == Z_OK {
      let available = min(input.count - consumed, 1 << 30)
      let produced = input.withUnsafeMutableBufferPointer { source in
        block.withUnsafeMutableBufferPointer { target in
          stream.next_in = source.baseAddress.map { $0 + consumed }
          stream.avail_in = uInt(available)
          stream.next_out = target.baseAddress
          stream.avail_out = uInt(target.count)
          status = CZlib.inflate(&stream, Z_NO_FLUSH)
          return target.count - Int(stream.avail_out)
        }
      }
      consumed += available - Int(stream.avail_in)
      output += block[..<produced]
      guard output.count <= limit else { throw damaged("inflates to more than \(limit) bytes") }
    }
    switch status {
    case Z_STREAM_END:
      guard consumed == bytes.count else {
        throw damaged("\(bytes.count - consumed) bytes follow the end of the gzip data")
      }
      return output
    case Z_BUF_ERROR: throw damaged("truncated: the gzip data does not end after \(bytes.count) bytes")
    default: throw damaged("not gzip, or damaged: \(stream.msg.map { String(cString: $0) } ?? "zlib status \(status)")")
    }
  }
}
