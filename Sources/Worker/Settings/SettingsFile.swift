// The file of settings: `key = value` lines, `#` begins a comment. The keys are the names of the worker's flags, so that a site writes
// down once what every launch would repeat. An unknown key is refused with the nearest known one.
import Foundation

/// What a file of settings says.
public struct SettingsFile: Sendable, Hashable {
  /// Where it is.
  public let path: String
  private let entries: [String: (text: String, line: Int)]

  /// Reads the text of a file.
  ///
  /// - Throws: `WorkerError` `configuration` naming file, line and key.
  public init(_ text: String, path: String) throws(WorkerError) {
    self.path = path
    var entries: [String: (text: String, line: Int)] = [:]
    for (index, whole) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let line = whole.prefix { $0 != "#" }.trimmingCharacters(in: .whitespaces)
      if line.isEmpty { continue }
      let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let key = parts[0].trimmingCharacters(in: .whitespaces)
      guard parts.count == 2 else {
        throw Self.error("'\(key)' has no value", hint: "write key = value", path, index + 1)
      }
      guard WorkerSettings.keys.contains(key) else {
        let nearest = WorkerSettings.keys.min { Self.distance(key, $0) < Self.distance(key, $1) } ?? ""
        throw Self.error(
          "'\(key)' is no setting of a worker",
          hint: "the nearest is '\(nearest)'; all are \(WorkerSettings.keys.joined(separator: ", "))", path, index + 1)
      }
      guard entries[key] == nil else {
        throw Self.error("'\(key)' is set twice", hint: "keep one of the lines", path, index + 1)
      }
      entries[key] = (parts[1].trimmingCharacters(in: .whitespaces), index + 1)
    }
    self.entries = entries
  }

  /// The file that counts: the one named by `--config` or TEMPER_CONFIG, which must be there, else the first that is there of
  /// `$XDG_CONFIG_HOME/temper/worker.conf` (`~/.config`) and `/etc/temper/worker.conf`; nil without any.
  ///
  /// - Throws: `WorkerError` `configuration` when it cannot be read or understood.
  public static func find(named path: String?, environment: [String: String]) throws(WorkerError) -> SettingsFile? {
    if let named = path ?? environment["TEMPER_CONFIG"], !named.isEmpty {
      guard let text = try? String(contentsOfFile: named, encoding: .utf8) else {
        throw WorkerError(
          code: .configuration, message: "the file of settings cannot be read",
          hint: "correct --config or TEMPER_CONFIG, or the rights of the file", location: named)
      }
      return try SettingsFile(text, path: named)
    }
    let home = environment["XDG_CONFIG_HOME"] ?? environment["HOME"].map { "\($0)/.config" }
    for candidate in [home.map { "\($0)/temper/worker.conf" }, "/etc/temper/worker.conf"].compactMap({ $0 }) {
      guard let text = try? String(contentsOfFile: candidate, encoding: .utf8) else { continue }
      return try SettingsFile(text, path: candidate)
    }
    return nil
  }

  /// What the file says about a key, and where.
  func entry(_ key: String) -> (text: String, origin: SettingOrigin)? {
    entries[key].map { ($0.text, .file(path, line: $0.line)) }
  }

  /// Files are equal when they are the same place and say the same.
  public static func == (left: SettingsFile, right: SettingsFile) -> Bool {
    left.path == right.path && left.entries.mapValues { $0.text } == right.entries.mapValues { $0.text }
  }

  /// Hashes what is compared.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(path)
    hasher.combine(entries.mapValues { $0.text })
  }

  private static func error(_ message: String, hint: String, _ path: String, _ line: Int) -> WorkerError {
    WorkerError(code: .configuration, message: message, hint: hint, location: "\(path):\(line)")
  }

  /// Levenshtein's, for the nearest key.
  private static func distance(_ left: String, _ right: String) -> Int {
    var row = Array(0...right.count)
    for (i, a) in left.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, b) in right.enumerated() {
        let next = min(row[j + 1] + 1, row[j] + 1, diagonal + (a == b ? 0 : 1))
        diagonal = row[j + 1]
        row[j + 1] = next
      }
    }
    return row[right.count]
  }
}
