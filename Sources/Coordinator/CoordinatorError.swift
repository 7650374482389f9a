// The one error type of this target.

/// Why a coordinator cannot start or cannot go on.
public struct CoordinatorError: Error, Sendable, CustomStringConvertible {
  /// What kind of error it is; codes may be added.
  public struct Code: Sendable, Hashable {
    private enum Kind: Hashable, Sendable { case directory, inUse, store, address, keys }
    private let kind: Kind
    /// The directory cannot be made or written.
    public static let directory = Code(kind: .directory)
    /// Another coordinator owns the directory.
    public static let inUse = Code(kind: .inUse)
    /// The store cannot be opened, read or written.
    public static let store = Code(kind: .store)
    /// The endpoint cannot be listened on.
    public static let address = Code(kind: .address)
    /// Keys are missing, damaged or open to others, or the endpoint may not be without them.
    public static let keys = Code(kind: .keys)
  }

  /// The kind of error.
  public let code: Code
  /// What was wrong, with the values.
  public let message: String
  /// What to do about it.
  public let hint: String
  /// The file or endpoint.
  public let location: String
  /// What it was caused by.
  public let cause: (any Error)?
  /// What the process should exit with (design, 7.5): 78 for what a person must change, 75 for what may pass.
  public let exitCode: Int32

  init(
    _ code: Code, _ message: String, hint: String, location: String, cause: (any Error)? = nil, exitCode: Int32 = 78
  ) {
    self.code = code
    self.message = message
    self.hint = hint
    self.location = location
    self.cause = cause
    self.exitCode = exitCode
  }

  /// `location: error: message`, the cause, and the hint on a line of its own.
  public var description: String {
    let because = cause.map { " (\($0))" } ?? ""
    return "\(location): error: \(message)\(because)\n  hint: \(hint)"
  }
}
