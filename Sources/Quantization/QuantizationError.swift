// The one error type of Quantization: a range, scale or model that cannot be quantized, said with its values.

/// Why a quantization was refused.
public struct QuantizationError: Error, Sendable, CustomStringConvertible {
  /// What kind of mistake it was; compare with `==`.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Value: String { case invalidArgument, noData, missingValue, unsupportedGraph }
    private let value: Value

    /// A number outside what a method takes.
    public static let invalidArgument = Code(value: .invalidArgument)
    /// A calibrator or observer that has seen nothing.
    public static let noData = Code(value: .noData)
    /// A scale or tensor that a quantized model needs and did not get.
    public static let missingValue = Code(value: .missingValue)
    /// A graph that has no integer form.
    public static let unsupportedGraph = Code(value: .unsupportedGraph)

    /// The code's name.
    public var description: String { value.rawValue }
  }

  /// The kind of mistake.
  public var code: Code
  /// What is wrong, with both values.
  public var message: String
  /// What to do about it, where there is an answer.
  public var hint: String?
  /// The node, parameter, observer or tensor it is about.
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
