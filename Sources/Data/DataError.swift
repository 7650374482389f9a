// What is wrong with data: a file, a store, a chunk from the network, or a job that the data cannot serve.

/// A recoverable fault of data.
public struct DataError: Error, Sendable, CustomStringConvertible {
  /// Kind of fault, for code that reacts to it; the set may grow.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Wrapped: String { case missing, unreadable, damaged, version, unsuitable, unwritable }
    private var wrapped: Wrapped

    /// A file or directory that the job names does not exist.
    public static let missing = Code(wrapped: .missing)
    /// A file exists but cannot be read.
    public static let unreadable = Code(wrapped: .unreadable)
    /// Bytes that are truncated, flipped, or not of the format.
    public static let damaged = Code(wrapped: .damaged)
    /// A store of a format version that this code does not read.
    public static let version = Code(wrapped: .version)
    /// Sound data that the job cannot be run with, such as a class without samples.
    public static let unsuitable = Code(wrapped: .unsuitable)
    /// A store cannot be written, such as on a full disk.
    public static let unwritable = Code(wrapped: .unwritable)

    /// The name of the code, as in the declaration.
    public var description: String { wrapped.rawValue }
  }

  /// Kind of fault.
  public var code: Code
  /// What is wrong, with the values that were found.
  public var message: String
  /// What to do about it.
  public var hint: String?
  /// File, chunk or key concerned.
  public var location: String
  /// The error underneath, if any.
  public var cause: (any Error)?

  /// Makes an error.
  public init(code: Code, message: String, hint: String? = nil, location: String, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
    self.location = location
    self.cause = cause
  }

  /// `location: error: message`, then the hint on a line of its own.
  public var description: String {
    "\(location): error: \(message)" + (hint.map { "\n  hint: \($0)" } ?? "")
  }
}
