// The coordinator's side of the control plane: one ROUTER on a thread of its own; the loop is in ControlServer+Loop.swift.

import Foundation
import Synchronization

/// Receives control messages of every worker and client, and hands them one by one to a handler on its own thread.
///
/// A peer that dies is reported within milliseconds by `.disconnected`; a peer that hangs is not, that takes heartbeats.
/// The thread keeps the server alive until `close`.
public final class ControlServer: Sendable {
  /// What the handler is called with.
  public enum Event {
    /// A connection spoke for the first time, and this is who it is; its messages follow.
    case introduced(PeerIdentity, Principal)
    /// A message arrived from a peer that was introduced.
    case received(PeerIdentity, WireEnvelope)
    /// The connection of a peer that had sent something is gone; it never comes back under this identity.
    case disconnected(PeerIdentity)
    /// The tick interval has passed; the instant is monotonic.
    case tick(ContinuousClock.Instant)
    /// Another thread gave this to `post`.
    case posted(any Sendable)
  }

  /// Counts since the start.
  public struct Counters: Sendable, Hashable {
    /// Messages handed to the handler.
    public var received = 0
    /// Messages given to libzmq.
    public var sent = 0
    /// Frames without our magic, or of more than one part; dropped.
    public var garbage = 0
    /// Frames with our magic that could not be read, answered with `Refused`.
    public var refused = 0
    /// Messages for peers that were gone, or too long.
    public var undeliverable = 0
    /// Messages of keys that are not admitted any more, or under somebody else's identity; dropped unread.
    public var denied = 0
  }

  enum Command {
    case send(WireEnvelope, PeerIdentity)
    case post(any Sendable)
  }

  /// What the face and the thread share.
  struct Shared {
    var commands: [Command] = []
    var counters = Counters()
    var endpoints: [String] = []
    var isClosed = false
    var isStarted = false
  }

  let shared = Mutex(Shared())
  let wake: WakePipe
  let requested: [String]
  let tickInterval: Duration
  let options: SocketOptions
  let security: ServerSecurity?
  private let thread = OwnerThread()

  /// Makes a server that does nothing yet.
  ///
  /// - Parameters:
  ///   - endpoints: `tcp://ADDRESS:PORT`, `tcp://ADDRESS:*` (a free port in 20000..<30000) or `ipc:///PATH`, which processes of
  ///     the same user reach.
  ///   - tickInterval: how often the handler gets `.tick`, whatever else happens.
  ///   - security: how tcp endpoints are protected; nil allows ipc only.
  /// - Throws: `notPermitted` for a tcp endpoint that is not protected as it must be, `system` when the process has no file
  ///   descriptors left.
  public init(
    endpoints: [String], tickInterval: Duration = .milliseconds(100), security: ServerSecurity? = nil
  ) throws {
    for endpoint in endpoints where endpoint.hasPrefix("tcp://") { try ServerSecurity.check(endpoint, security) }
    requested = endpoints
    self.security = security
    self.tickInterval = tickInterval
    options = SocketOptions(maximumFrameByteCount: Int64(ControlFrame.maximumByteCountToServer))
    wake = try WakePipe()
  }

  /// Listens, and calls the handler on the server's thread until `close`.
  ///
  /// Returns where it listens.
  /// - Parameter handler: what it captures belongs to the server's thread from now on.
  /// - Throws: `addressInUse` or `badEndpoint`, naming the endpoint; nothing is left listening then.
  @discardableResult
  public func start(handler: sending @escaping (Event) -> Void) throws -> [String] {
    try shared.withLock {
      guard !$0.isStarted else { throw CommunicationError(.misuse, "a control server is started once") }
      $0.isStarted = true
    }
    let transfer = Transfer(handler)
    let outcome = Handover<Result<[String], any Error>>()
    thread.start(name: "control-server") { [self] in
      do {
        let loop = try ControlServerLoop(server: self, handler: transfer.take())
        outcome.give(.success(loop.endpoints))
        loop.run()
      } catch {
        outcome.give(.failure(error))
      }
    }
    do {
      let endpoints = try outcome.take().get()
      shared.withLock { $0.endpoints = endpoints }
      return endpoints
    } catch {
      shared.withLock { $0.isClosed = true }
      thread.join()
      throw error
    }
  }

  /// Where it listens, ports resolved; empty before `start`.
  public var endpoints: [String] { shared.withLock { $0.endpoints } }

  /// Counts since the start.
  public var counters: Counters { shared.withLock { $0.counters } }

  /// Sends a message; from any thread, never waits.
  ///
  /// A peer that is gone is counted, not reported: `.disconnected` tells.
  public func send(_ envelope: WireEnvelope, to peer: PeerIdentity) {
    command(.send(envelope, peer))
  }

  /// Hands a value to the handler as `.posted`; from any thread, never waits.
  public func post(_ value: any Sendable) {
    command(.post(value))
  }

  private func command(_ command: Command) {
    shared.withLock { $0.commands.append(command) }
    if !thread.isCurrent { wake.wake() }
  }

  /// Stops the thread and the socket.
  ///
  /// Messages that the handler sent before are handed to libzmq, which may still drop them.
  public func close() {
    let wasRunning = shared.withLock {
      let running = $0.isStarted && !$0.isClosed
      $0.isClosed = true
      return running
    }
    wake.wake()
    if wasRunning && !thread.isCurrent { thread.join() }
  }
}
