// The one error type of Export: a model that ONNX cannot express, or a file that cannot be written.

/// Why an export failed.
public struct ExportError: Error, Sendable, CustomStringConvertible {
  /// What kind of mistake it was; compare with `==`.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Value: String { case unsupportedGraph, writeFailed }
    private let value: Value

    /// A graph or model that the export format cannot express.
    public static let unsupportedGraph = Code(value: .unsupportedGraph)
    /// A file that could not be written; nothing half-written is left.
    public static let writeFailed = Code(value: .writeFailed)

    /// The code's name.
    public var description: String { value.rawValue }
  }

  /// The kind of mistake.
  public var code: Code
  /// What is wrong, with both values.
  public var message: String
  /// What to do about it, where there is an answer.
  public var hint: String?
  /// The node or file it is about.
  public var location: String?
  /// The error that led to this one.
  public var cause: (any Error)?

  /// Makes an error; every part but code and message may be absent.
  public init(
    _ code: Code, _ message: String, hint: String? = nil, location: String? = nil, cause: (any Error)? = nil
  ) {
    self.code = code
    self.message = message
    self.hint = hint
    self.location = location
    self.cause = cause
  }

  /// Location, message, cause, and the hint on a line of its own.
  public var description: String {
    var text = location.map { "\($0): error: \(message)" } ?? "error: \(message)"
    if let cause { text += " (\(cause))" }
    if let hint { text += "\n  hint: \(hint)" }
    return text
  }
}
