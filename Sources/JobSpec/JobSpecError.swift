// What is wrong with a job specification, where, and what to do about it.

/// One fault of a job specification.
public struct JobSpecError: Error, Sendable, Hashable, CustomStringConvertible {
  /// Kind of fault, for code that reacts to it; the set may grow.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Wrapped: String {
      case syntax, version, unknownKey, missingKey, wrongType, outOfRange, conflict, override
    }
    private var wrapped: Wrapped

    /// The text is not YAML, has a duplicate key, or is too large.
    public static let syntax = Code(wrapped: .syntax)
    /// The specification has a format version that this code does not read.
    public static let version = Code(wrapped: .version)
    /// A key that the schema does not have.
    public static let unknownKey = Code(wrapped: .unknownKey)
    /// A key that the job needs is absent.
    public static let missingKey = Code(wrapped: .missingKey)
    /// A value of another type than the key takes.
    public static let wrongType = Code(wrapped: .wrongType)
    /// A value outside the key's range or choices.
    public static let outOfRange = Code(wrapped: .outOfRange)
    /// Two keys that contradict each other.
    public static let conflict = Code(wrapped: .conflict)
    /// An override that is not of the form key=value.
    public static let override = Code(wrapped: .override)

    /// The name of the code, as in the declaration.
    public var description: String { wrapped.rawValue }
  }

  /// Kind of fault.
  public var code: Code
  /// What is wrong, with the value that was found.
  public var message: String
  /// What to do about it.
  public var hint: String?
  /// `file:line:column`, `file`, or `--set key`.
  public var location: String

  /// `location: error: message`, then the hint on a line of its own.
  public var description: String {
    "\(location): error: \(message)" + (hint.map { "\n  hint: \($0)" } ?? "")
  }
}

/// Every fault found in one specification, in the order of the text; never empty.
public struct JobSpecErrors: Error, Sendable, Hashable, CustomStringConvertible {
  /// The faults.
  public var errors: [JobSpecError]

  /// One fault per paragraph.
  public var description: String { errors.map(\.description).joined(separator: "\n") }
}
