// On what a measurement was made.

import Foundation
import Kernels

/// The machine, as far as it explains a number.
public struct Machine: Codable, Sendable, Hashable {
  /// The processor's name for itself.
  public let processor: String
  /// Logical processors that the process may use.
  public let logicalProcessors: Int
  /// Memory in bytes.
  public let memoryBytes: UInt64
  /// The operating system.
  public let system: String

  /// The machine that this process runs on.
  public static var current: Machine {
    let process = ProcessInfo.processInfo
    return Machine(
      processor: processorName() ?? "unknown", logicalProcessors: process.activeProcessorCount,
      memoryBytes: process.physicalMemory, system: process.operatingSystemVersionString)
  }

  /// The instruction set that every kernel of this process uses.
  public static var instructionSet: String { InstructionSet.current.rawValue }

  private static func processorName() -> String? {
    guard let bytes = FileManager.default.contents(atPath: "/proc/cpuinfo") else { return nil }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    func value(_ key: String) -> String? {
      guard let line = lines.first(where: { $0.hasPrefix(key) }), let colon = line.firstIndex(of: ":") else {
        return nil
      }
      return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }
    guard let name = value("model name") else { return nil }
    // Virtual machines often hide the name; family and model tell what it is.
    let numbers = [("family", "cpu family"), ("model", "model\t"), ("stepping", "stepping")].compactMap { label, key in
      value(key).map { "\(label) \($0)" }
    }
    return numbers.isEmpty ? name : "\(name) (\(numbers.joined(separator: ", ")))"
  }
}
