// The one error type of Training.

/// What went wrong in training, where, and what to do about it.
public struct TrainingError: Error, Sendable, CustomStringConvertible {
  /// What kind of failure it is.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Value: String, Sendable { case invalidPlan, invalidState, diverged, unsupported, invalidData }
    private let value: Value

    /// A job that cannot be trained on this data (fewer samples than a batch, for example).
    public static let invalidPlan = Code(value: .invalidPlan)
    /// A tensor of a checkpoint is missing, or has the wrong shape or type.
    public static let invalidState = Code(value: .invalidState)
    /// Gradients are not finite and no smaller loss scale will help.
    public static let diverged = Code(value: .diverged)
    /// The graph holds something that training does not do.
    public static let unsupported = Code(value: .unsupported)
    /// The data set does not fit the plan.
    public static let invalidData = Code(value: .invalidData)

    /// The name of the code.
    public var description: String { value.rawValue }
  }

  /// What kind of failure it is.
  public let code: Code
  /// What was wrong, with the values.
  public let message: String
  /// What to do about it.
  public let hint: String?
  /// The tensor, node or step concerned.
  public let location: String?
  /// The error underneath.
  public let cause: (any Error)?

  /// Makes an error.
  public init(
    _ code: Code, _ message: String, hint: String? = nil, location: String? = nil, cause: (any Error)? = nil
  ) {
    self.code = code
    self.message = message
    self.hint = hint
    self.location = location
    self.cause = cause
  }

  /// Location, message, cause and hint, as the command line prints them.
  public var description: String {
    var text = location.map { "\($0): error: \(message)" } ?? "error: \(message)"
    if let cause { text += " (\(cause))" }
    if let hint { text += "\n  hint: \(hint)" }
    return text
  }
}
