// The one error type of Graph: a wrong shape, name, order or tensor, said with the values that clash.

/// Why a graph, a layout or a tensor was refused.
public struct GraphError: Error, Sendable, CustomStringConvertible {
  /// What kind of mistake it was; compare with `==`.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Value: String { case invalidArgument, shapeMismatch, duplicateName, unknownName, invalidTensor }
    private let value: Value

    /// A number outside what an operation takes.
    public static let invalidArgument = Code(value: .invalidArgument)
    /// Shapes that do not fit each other, or a tensor whose shape is not the parameter's.
    public static let shapeMismatch = Code(value: .shapeMismatch)
    /// A node, parameter or output name used twice.
    public static let duplicateName = Code(value: .duplicateName)
    /// A node, parameter or tensor name that does not exist.
    public static let unknownName = Code(value: .unknownName)
    /// Bytes or element type that do not fit the tensor's declaration.
    public static let invalidTensor = Code(value: .invalidTensor)

    /// The code's name.
    public var description: String { value.rawValue }
  }

  /// The kind of mistake.
  public var code: Code
  /// What is wrong, with both values.
  public var message: String
  /// What to do about it, where there is an answer.
  public var hint: String?
  /// The node, parameter or tensor it is about.
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
