// The one error type of this target: a code to decide on, and words for a person.

/// What went wrong between processes, what it means, and what to do about it.
public struct CommunicationError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure; new ones may be added, so a `switch` needs a default.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Value: String {
      case addressInUse, badEndpoint, unreachable, timedOut, refused, closed, malformed, versionMismatch, tooLarge
      case generationEnded, peerLost, protocolViolation, misuse, unavailable, system
      case noKey, notPermitted, badKey
    }
    private let value: Value
    private init(_ value: Value) { self.value = value }
    /// The name of the code, for logs.
    public var description: String { value.rawValue }

    /// Another process listens on the endpoint already.
    public static let addressInUse = Code(.addressInUse)
    /// The endpoint cannot be understood, or this machine does not have it.
    public static let badEndpoint = Code(.badEndpoint)
    /// Nobody answered at the endpoint for longer than the limit.
    public static let unreachable = Code(.unreachable)
    /// A deadline passed; the other side may still be alive.
    public static let timedOut = Code(.timedOut)
    /// The other side answered, and said no.
    public static let refused = Code(.refused)
    /// This object was closed by its owner.
    public static let closed = Code(.closed)
    /// Bytes that are not a message of ours.
    public static let malformed = Code(.malformed)
    /// A message of ours in a protocol version that this program does not speak.
    public static let versionMismatch = Code(.versionMismatch)
    /// A message longer than the limit of its plane.
    public static let tooLarge = Code(.tooLarge)
    /// The generation was ended on purpose; the caller waits for the next one.
    public static let generationEnded = Code(.generationEnded)
    /// A connection to a peer of this generation broke; the generation is over.
    public static let peerLost = Code(.peerLost)
    /// A peer of this generation sent what the protocol does not allow; the generation is over.
    public static let protocolViolation = Code(.protocolViolation)
    /// The caller broke a rule of the API that only shows at run time.
    public static let misuse = Code(.misuse)
    /// The peer has no state to serve.
    public static let unavailable = Code(.unavailable)
    /// The operating system or libzmq refused.
    public static let system = Code(.system)
    /// A key is needed, and there is none.
    public static let noKey = Code(.noKey)
    /// A key is known and may not do this, or its file is open to others.
    public static let notPermitted = Code(.notPermitted)
    /// What should be a key, a name of one or a token is none.
    public static let badKey = Code(.badKey)
  }

  /// The kind of failure.
  public var code: Code
  /// One sentence with the values in it.
  public var message: String
  /// What to do about it; empty when there is nothing to do.
  public var hint: String
  /// The endpoint or peer concerned; empty when there is none.
  public var location: String
  /// What it was caused by.
  public var cause: (any Error)?
  /// What a process that cannot go on should exit with: 69 unreachable, 77 not permitted, 78 wrong version, what a refusal
  /// asked for, else 70.
  public var exitCode: Int32

  /// Makes an error from its parts.
  public init(_ code: Code, _ message: String, hint: String = "", location: String = "", cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
    self.location = location
    self.cause = cause
    switch code {
    case .unreachable, .timedOut: exitCode = 69
    case .versionMismatch, .badEndpoint, .addressInUse, .badKey: exitCode = 78
    case .noKey, .notPermitted: exitCode = 77
    default: exitCode = 70
    }
  }

  /// "location: error: message", the cause, and the hint on a line of its own.
  public var description: String {
    var text = location.isEmpty ? "error: \(message)" : "\(location): error: \(message)"
    if let cause { text += " (\(cause))" }
    if !hint.isEmpty { text += "\n  hint: \(hint)" }
    return text
  }
}
