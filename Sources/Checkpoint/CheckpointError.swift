// The one error type of this target.

/// What is wrong with a checkpoint or a tensor file, where, and what to do about it.
public struct CheckpointError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure; new ones may be added, so a `switch` needs a default.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Value: String { case missing, damaged, unsupported, invalidName, diskFull, inputOutput, misuse }
    private let value: Value
    private init(_ value: Value) { self.value = value }
    /// The name of the code, for logs.
    public var description: String { value.rawValue }

    /// A file or directory that should be there is not.
    public static let missing = Code(.missing)
    /// Bytes are not what the manifest or the format says.
    public static let damaged = Code(.damaged)
    /// A version or element type that this program does not read.
    public static let unsupported = Code(.unsupported)
    /// A file name that could lead outside the checkpoint.
    public static let invalidName = Code(.invalidName)
    /// The disk is full; nothing half-written is left under a final name.
    public static let diskFull = Code(.diskFull)
    /// The operating system refused.
    public static let inputOutput = Code(.inputOutput)
    /// The caller broke a rule of the API that only shows at run time.
    public static let misuse = Code(.misuse)
  }

  /// The kind of failure.
  public var code: Code
  /// One sentence with the values in it.
  public var message: String
  /// What to do about it; empty when there is nothing to do.
  public var hint: String
  /// The file or directory, and the tensor if there is one.
  public var location: String
  /// What it was caused by.
  public var cause: (any Error)?

  /// Makes an error from its parts.
  public init(_ code: Code, _ message: String, hint: String = "", location: String, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
    self.location = location
    self.cause = cause
  }

  /// "location: error: message", and the hint on a line of its own.
  public var description: String {
    var text = "\(location): error: \(message)"
    if let cause { text += " (\(cause))" }
    if !hint.isEmpty { text += "\n  hint: \(hint)" }
    return text
  }
}
