// Resident memory of this process, from /proc/self/status.
import Foundation

/// What this process takes of the machine's memory, in bytes.
enum ProcessMemory {
  /// Resident now.
  static var resident: UInt64 { value(of: "VmRSS:") }
  /// The most that was ever resident.
  static var peakResident: UInt64 { value(of: "VmHWM:") }

  private static func value(of field: String) -> UInt64 {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return 0 }
    for line in status.split(separator: "\n") where line.hasPrefix(field) {
      let kibibytes = line.dropFirst(field.count).split(whereSeparator: \.isWhitespace).first.flatMap { UInt64($0) }
      return (kibibytes ?? 0) * 1024
    }
    return 0
  }
}
