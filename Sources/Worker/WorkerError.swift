// The errors of a worker.

/// What a worker cannot do, with what to do about it.
public struct WorkerError: Error, Sendable, CustomStringConvertible {
  /// What kind of error it is.
  public struct Code: Sendable, Hashable {
    private enum Value: Sendable, Hashable {
      case usage, configuration, interrupted, damagedState, data, specification, communication
    }
    private let value: Value
    /// An option or environment variable is wrong.
    public static let usage = Code(value: .usage)
    /// The file of settings is wrong.
    public static let configuration = Code(value: .configuration)
    /// The generation ended while it was at work.
    public static let interrupted = Code(value: .interrupted)
    /// State from a peer or a checkpoint cannot be used.
    public static let damagedState = Code(value: .damagedState)
    /// The dataset cannot be read.
    public static let data = Code(value: .data)
    /// The spec that the coordinator sent cannot be run here.
    public static let specification = Code(value: .specification)
    /// The coordinator or a peer does not do its part.
    public static let communication = Code(value: .communication)
  }

  /// What kind of error it is.
  public var code: Code
  /// What is wrong, with the values.
  public var message: String
  /// What to do about it, or empty.
  public var hint: String
  /// Where, or empty: an option, a variable, a file of the coordinator, a peer.
  public var location: String
  /// The error underneath.
  public var cause: (any Error)?

  /// Memberwise.
  public init(code: Code, message: String, hint: String = "", location: String = "", cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
    self.location = location
    self.cause = cause
  }

  static func damagedState(_ message: String, location: String = "", cause: (any Error)? = nil) -> WorkerError {
    WorkerError(code: .damagedState, message: message, location: location, cause: cause)
  }

  static func interrupted(_ reason: String) -> WorkerError { WorkerError(code: .interrupted, message: reason) }

  /// "location: error: message", the cause, and the hint on a line of its own.
  public var description: String {
    let place = location.isEmpty ? "" : "\(location): "
    let reason = cause.map { ": \($0)" } ?? ""
    return "\(place)error: \(message)\(reason)" + (hint.isEmpty ? "" : "\n  hint: \(hint)")
  }

  /// What a process that ends with this error should exit with.
  public var exitCode: Int32 {
    switch code {
    case .usage: WorkerExit.usage
    case .data, .damagedState: WorkerExit.data
    case .configuration, .specification: WorkerExit.configuration
    case .communication: WorkerExit.unreachable
    default: WorkerExit.software
    }
  }
}
