// The worker's and the command line's side of the control plane: one DEALER on a thread of its own.
// The loop that connects, greets and reconnects is in ControlClient+Loop.swift.

import Foundation
import Synchronization

/// A connection to the coordinator that repairs itself.
///
/// Every connection has a fresh identity, so after each `.connected` the owner introduces itself again (WorkerHello).
/// Messages are never queued for later: whoever is connected again tells its state anew. Requests are, see `request`.
/// The thread keeps the client alive until `close`.
public final class ControlClient: Sendable {
  /// What the handler is called with, on the client's thread.
  public enum Event: Sendable {
    /// A connection stands. What the handler sends now goes out before anything else.
    case connected
    /// The connection broke, and why; it is being rebuilt.
    case disconnected(String)
    /// A message that is no reply to a pending request.
    case received(WireEnvelope)
    /// The coordinator speaks another protocol version, or does not admit this key: leave with the error's exit code.
    case incompatible(CommunicationError)
    /// Nobody has answered for longer than the limit; reported once per outage.
    case unreachable(CommunicationError)
    /// The tick interval has passed; the instant is monotonic.
    case tick(ContinuousClock.Instant)
  }

  /// Where to connect and how patient to be.
  public struct Configuration: Sendable {
    /// `tcp://HOST:PORT` or `ipc:///PATH`.
    public var endpoint: String
    /// How a tcp link is protected; ipc needs nothing.
    public var security: ClientSecurity?
    /// After this long without a connection `.unreachable` is reported.
    public var unreachableLimit: Duration
    /// How often the handler gets `.tick`; nil for never.
    public var tickInterval: Duration?
    /// First and longest wait before a broken connection is made anew.
    public var backOff: ClosedRange<Duration>

    /// Makes a configuration.
    public init(
      endpoint: String, security: ClientSecurity? = nil, unreachableLimit: Duration = .seconds(30),
      tickInterval: Duration? = nil, backOff: ClosedRange<Duration> = .milliseconds(100)...(.seconds(2))
    ) {
      self.endpoint = endpoint
      self.security = security
      self.unreachableLimit = unreachableLimit
      self.tickInterval = tickInterval
      self.backOff = backOff
    }
  }

  /// Whether messages can go out.
  enum Link { case down, greeting, up }

  struct Pending {
    var envelope: WireEnvelope
    var answer: Handover<Result<WireEnvelope, CommunicationError>>
    var isSent = false
  }

  struct Shared {
    var link = Link.down
    /// What the handler of `.connected` sends: goes out before the outbox.
    var greetings: [WireEnvelope] = []
    var outbox: [WireEnvelope] = []
    var pending: [UInt64: Pending] = [:]
    var nextRequest: UInt64 = 1
    var isClosed = false
    /// Why this client will never be admitted, if it was told so.
    var denial: CommunicationError?
    var lastTrouble = "no answer yet"
  }

  let configuration: Configuration
  let shared = Mutex(Shared())
  let wake: WakePipe
  private let handler: @Sendable (Event, ControlClient) -> Void
  private let thread = OwnerThread()

  /// Starts connecting.
  ///
  /// - Parameters:
  ///   - configuration: where to connect, how patient to be.
  ///   - handler: called on the client's thread; it must not wait, and must not call `request`.
  /// - Throws: `badEndpoint` when the endpoint cannot be understood, `notPermitted` when a tcp endpoint has no protection; an
  ///   absent coordinator is no error.
  public init(
    _ configuration: Configuration, handler: @escaping @Sendable (Event, ControlClient) -> Void = { _, _ in }
  ) throws {
    if configuration.endpoint.hasPrefix("tcp://") {
      switch configuration.security {
      case .curve: break
      case .insecure: try Credentials.requireLoopback(configuration.endpoint)
      case nil:
        throw CommunicationError(
          .notPermitted, "a tcp link needs a key", hint: "give --keys, or use the coordinator's ipc endpoint",
          location: configuration.endpoint)
      }
    }
    self.configuration = configuration
    self.handler = handler
    wake = try WakePipe()
    let outcome = Handover<CommunicationError?>()
    thread.start(name: "control-client") { [self] in
      let loop = ControlClientLoop(client: self)
      do {
        try loop.connect()
        outcome.give(nil)
      } catch {
        outcome.give(error as? CommunicationError ?? CommunicationError(.system, "\(error)"))
        return
      }
      loop.run()
    }
    if let error = outcome.take() {
      shared.withLock { $0.isClosed = true }
      thread.join()
      throw error
    }
  }

  func deliver(_ event: Event) { handler(event, self) }

  /// Whether a connection stands at this moment.
  public var isConnected: Bool { shared.withLock { $0.link == .up } }

  /// Sends a message that expects no reply; from any thread, never waits.
  ///
  /// Returns false when there is no connection: the message is dropped.
  @discardableResult
  public func send(_ envelope: WireEnvelope) -> Bool {
    let isOwner = thread.isCurrent
    let isAccepted = shared.withLock {
      guard !$0.isClosed, $0.link != .down else { return false }
      if $0.link == .greeting && isOwner { $0.greetings.append(envelope) } else { $0.outbox.append(envelope) }
      return true
    }
    if isAccepted && !isOwner { wake.wake() }
    return isAccepted
  }

  /// Sends a request and waits for its reply; from any thread but the client's own.
  ///
  /// When the connection breaks meanwhile, the request is sent again over the next one: requests must bear that
  /// (SubmitJob has its idempotency key for it).
  /// - Throws: `notPermitted` when the coordinator does not admit this key, `unreachable` when there was no connection until the deadline, `timedOut` when there was one but no reply,
  ///   `refused` with the coordinator's reason, remedy and exit code, `closed`.
  public func request(_ envelope: WireEnvelope, timeout: Duration) throws -> WireEnvelope {
    guard !thread.isCurrent else {
      throw CommunicationError(.misuse, "request was called on the client's own thread, which delivers the reply")
    }
    let answer = Handover<Result<WireEnvelope, CommunicationError>>()
    let number: UInt64 = try shared.withLock {
      guard !$0.isClosed else { throw closedError }
      if let denial = $0.denial { throw denial }
      let number = $0.nextRequest
      $0.nextRequest += 1
      var envelope = envelope
      envelope.request = number
      $0.pending[number] = Pending(envelope: envelope, answer: answer)
      return number
    }
    wake.wake()
    guard let reply = answer.take(within: timeout) else {
      let (link, trouble) = shared.withLock {
        $0.pending[number] = nil
        return ($0.link, $0.lastTrouble)
      }
      let kind = ControlFrame.name(of: envelope)
      guard link == .up else { throw unreachableError(after: timeout, trouble: trouble) }
      throw CommunicationError(
        .timedOut, "no reply to \(kind) within \(timeout.inSeconds) s",
        hint: "the coordinator is busy or stuck: look at its log", location: configuration.endpoint)
    }
    let envelope = try reply.get()
    guard case .refused(let refusal) = envelope.body else { return envelope }
    throw Self.error(of: refusal, endpoint: configuration.endpoint)
  }

  /// The error that a refusal stands for.
  public static func error(of refusal: WireRefused, endpoint: String) -> CommunicationError {
    var error = CommunicationError(.refused, refusal.reason, hint: refusal.remedy, location: endpoint)
    error.exitCode = refusal.exitCode
    return error
  }

  /// Stops the thread and the socket; pending requests throw `closed`.
  ///
  /// What was sent just before (a Leave, say) is handed to libzmq and given `grace` to reach the network.
  public func close(grace: Duration = .zero) {
    if grace > .zero && isConnected {
      wake.wake()
      Thread.sleep(forTimeInterval: grace.inSeconds)
    }
    let wasOpen = shared.withLock { shared in
      let wasOpen = !shared.isClosed
      shared.isClosed = true
      return wasOpen
    }
    wake.wake()
    if wasOpen && !thread.isCurrent { thread.join() }
  }

  var closedError: CommunicationError {
    CommunicationError(.closed, "the connection was closed by this program", location: configuration.endpoint)
  }

  func unreachableError(after time: Duration, trouble: String) -> CommunicationError {
    var hint = "start temper-coordinator there, or correct the endpoint and the firewall"
    if case .curve = configuration.security {
      hint += "; if another coordinator is there now, get a key of it: temper keys join"
    }
    return CommunicationError(
      .unreachable, "the coordinator did not answer for \(time.inSeconds) s: \(trouble)", hint: hint,
      location: configuration.endpoint)
  }
}
