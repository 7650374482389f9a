// Log lines for people and log collectors: "2026-11-23T08:40:12.345Z info text" on standard error, or one JSON object per line.
import Coordinator
import Foundation
import Logging

/// Writes each line with one system call, so that lines of several threads never mix.
struct PlainLogHandler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level
  let json: Bool

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let text = "\(event.message)"
    let line =
      json ? Self.object(event.level, text) : "\(Timestamp.now()) \(event.level) \(text)"
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }

  private static func object(_ level: Logger.Level, _ text: String) -> String {
    let fields = ["time": Timestamp.now(), "level": level.rawValue, "message": text]
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // A dictionary of strings always encodes.
    return (try? encoder.encode(fields)).map { String(decoding: $0, as: UTF8.self) } ?? text
  }
}
