// Log lines for people and for grep: "2026-11-23T08:09:10.123Z info text" on standard error.
import Foundation
import Logging

/// Writes one line per message; the hint of an error stays on its own line.
struct PlainLogHandler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.info

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let text = "\(Self.time()) \(event.level) \(event.message)\n"
    // One write per line, so that the lines of several processes with one log file do not mix.
    FileHandle.standardError.write(Data(text.utf8))
  }

  private static func time() -> String {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    var parts = tm()
    gmtime_r(&now.tv_sec, &parts)
    return String(
      format: "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
      parts.tm_hour,
      parts.tm_min, parts.tm_sec, now.tv_nsec / 1_000_000)
  }
}
