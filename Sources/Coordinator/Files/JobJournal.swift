// The two files that a person reads about a job: log.txt and metrics.jsonl. Appended to as things happen, never rewritten; lost
// lines in a power failure are no harm, what matters is in the store.
import Foundation
import RunStore

/// Appends to a job's log and metrics; used on the server's thread only.
struct JobJournal {
  /// Lines of a log that one reply carries at most, and their bytes.
  static let pageLineCount = 1_000
  static let pageByteCount = 512 << 10

  let directory: String

  var logPath: String { "\(directory)/log.txt" }
  var metricsPath: String { "\(directory)/metrics.jsonl" }

  /// Appends lines to the log; line breaks inside a line become spaces, so that lines can be counted.
  ///
  /// - Returns: false when the disk did not take all of them.
  @discardableResult
  func log(_ lines: [String]) -> Bool { Self.append(lines.map(Self.oneLine), to: logPath) }

  /// Appends an object to the metrics.
  func metrics(_ line: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    guard let bytes = try? encoder.encode(line) else { return }
    Self.append([String(decoding: bytes, as: UTF8.self)], to: metricsPath)
  }

  /// The lines from number `first` on, at most a page, and the number of the line after them.
  func page(from first: UInt64) -> (lines: [String], next: UInt64) {
    guard let text = try? String(contentsOfFile: logPath, encoding: .utf8) else { return ([], first) }
    var lines: [String] = []
    var byteCount = 0
    for line in text.split(separator: "\n").dropFirst(Int(clamping: first)).prefix(Self.pageLineCount) {
      byteCount += line.utf8.count
      guard byteCount <= Self.pageByteCount || lines.isEmpty else { break }
      lines.append(String(line.prefix(Self.pageByteCount)))
    }
    return (lines, first + UInt64(lines.count))
  }

  /// A text without line breaks.
  static func oneLine(_ line: String) -> String {
    line.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: " | ")
  }

  @discardableResult
  private static func append(_ lines: [String], to path: String) -> Bool {
    let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    let bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
    // One write per call: lines of one call stay together. What a full disk does not take is lost; LogGaps counts workers' lines.
    return bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == bytes.count
  }
}

/// One line of metrics.jsonl about steps.
struct ProgressLine: Encodable {
  var kind = "step"
  var generation: UInt64
  var step: UInt64
  var epoch: UInt32
  var phase: String
  var loss: Double
  var accuracy: Double
  var learningRate: Double
  var lossScale: Double
  var imagesPerSecond: Double
  var workers: UInt32
}

/// One line of metrics.jsonl about an epoch.
struct EpochLine: Encodable {
  var kind = "epoch"
  var generation: UInt64
  var step: UInt64
  var epoch: UInt32
  var seconds: Double
  var imagesPerSecond: Double
  /// The worker's JSON as it came, parsed; null when it is none.
  var metrics: JSONValue?
}

/// Any JSON, to pass on what another program wrote.
enum JSONValue: Codable {
  case object([String: JSONValue])
  case array([JSONValue])
  case string(String)
  case number(Double)
  case bool(Bool)
  case null

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .object(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .bool(let value): try container.encode(value)
    case .null: try container.encodeNil()
    }
  }
}
