// A line per result of the kernel suite, to compare runs on different processors (Scripts/test-emulated-processor.sh).

import Foundation
import Synchronization
import Testing

/// Appends a hash of every result that `expectSameBits` sees to the file that TEMPER_KERNEL_DIGEST names.
final class ResultDigest: Sendable {
  /// The recorder of this run, if one is asked for.
  static let shared = ProcessInfo.processInfo.environment["TEMPER_KERNEL_DIGEST"].flatMap(ResultDigest.init)

  private let file: Mutex<FileHandle>

  private init?(path: String) {
    guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
    else { return nil }
    self.file = Mutex(file)
  }

  /// One line: the place, the label, the number of elements and the FNV-1a hash of their bits.
  func record(_ bits: [UInt32], _ label: String, _ location: SourceLocation) {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for word in bits {
      for shift in stride(from: UInt32(0), to: 32, by: 8) {
        hash = (hash ^ UInt64(word >> shift & 0xFF)) &* 0x0000_0100_0000_01B3
      }
    }
    let line = "\(location.fileID):\(location.line) \(label) \(bits.count) \(String(hash, radix: 16))\n"
    file.withLock { $0.write(Data(line.utf8)) }
  }
}
