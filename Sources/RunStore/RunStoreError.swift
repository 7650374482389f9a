// Errors of the store.

/// Why the coordinator's store could not be used.
public struct RunStoreError: Error, Sendable, CustomStringConvertible {
  /// What kind of error it is; codes may be added.
  public struct Code: Sendable, Hashable {
    private enum Kind: Hashable, Sendable { case cannotOpen, newerFormat, cannotRead, cannotWrite, inconsistent }
    private let kind: Kind
    /// The file cannot be opened or is no database.
    public static let cannotOpen = Code(kind: .cannotOpen)
    /// A newer Temper wrote the file.
    public static let newerFormat = Code(kind: .newerFormat)
    /// Reading failed.
    public static let cannotRead = Code(kind: .cannotRead)
    /// A decision could not be written down; it must not be acted upon.
    public static let cannotWrite = Code(kind: .cannotWrite)
    /// A row holds what no version of Temper writes.
    public static let inconsistent = Code(kind: .inconsistent)
  }

  /// The kind of error.
  public let code: Code
  /// What was wrong, with the values.
  public let message: String
  /// What to do about it.
  public let hint: String
  /// The database file.
  public let location: String
  /// What SQLite said.
  public let cause: (any Error)?

  init(_ code: Code, _ message: String, hint: String, location: String, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
    self.location = location
    self.cause = cause
  }

  /// `location: error: message`, the cause, and the hint on a line of its own.
  public var description: String {
    let because = cause.map { " (\($0))" } ?? ""
    return "\(location): error: \(message)\(because)\n  hint: \(hint)"
  }
}
