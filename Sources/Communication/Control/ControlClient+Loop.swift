// The thread of a ControlClient: connect, greet, move messages, and on any trouble a new socket after a wait.
// A socket of libzmq 4.3.4 whose handshake failed may never try again, so it is not repaired but replaced.

import Foundation
import Synchronization

final class ControlClientLoop {
  private let client: ControlClient
  private let clock = ContinuousClock()
  private var socket: Socket?
  private var monitor: SocketMonitor?
  private var poll = PollSet()
  private var wait: Duration
  private var retryAt: ContinuousClock.Instant?
  private var downSince: ContinuousClock.Instant
  private var isReportedUnreachable = false

  init(client: ControlClient) {
    self.client = client
    wait = client.configuration.backOff.lowerBound
    downSince = clock.now
  }

  /// Makes a socket with a fresh identity and begins to connect.
  func connect() throws {
    let options = SocketOptions(maximumFrameByteCount: Int64(ControlFrame.maximumByteCountToClient))
    let socket = try Socket(.dealer, options: options)
    socket.setRoutingIdentity(PeerIdentity.fresh().bytes)
    if case .curve(let pair, let coordinator) = client.configuration.security,
      client.configuration.endpoint.hasPrefix("tcp://")
    {
      socket.protect(as: pair, server: coordinator)
    }
    let monitor = try SocketMonitor(socket)
    do { try socket.connect(client.configuration.endpoint) } catch {
      monitor.close()
      socket.close()
      throw error
    }
    self.socket = socket
    self.monitor = monitor
  }

  func run() {
    let interval = client.configuration.tickInterval
    var nextTick = interval.map { clock.now + $0 }
    while !client.shared.withLock({ $0.isClosed }) {
      poll.reset(wake: client.wake)
      if let socket, let monitor {
        poll.add(socket)
        poll.add(monitor.pair)
      }
      poll.wait(timeUntilNext(nextTick))
      client.wake.drain()
      takeMonitorEvents()
      receiveAll()
      flush()
      let now = clock.now
      if let retryAt, now >= retryAt { reconnect() }
      reportIfUnreachable(now)
      if let interval, let due = nextTick, now >= due {
        client.deliver(.tick(now))
        flush()
        nextTick = max(due + interval, now)
      }
    }
    flush()
    drop()
    for pending in client.shared.withLock({ $0.pending.values.map(\.answer) }) {
      pending.give(.failure(client.closedError))
    }
  }

  private func timeUntilNext(_ tick: ContinuousClock.Instant?) -> Duration? {
    var next = [tick, retryAt].compactMap { $0 }
    let isDown = client.shared.withLock { $0.link != .up }
    if isDown && !isReportedUnreachable { next.append(downSince + client.configuration.unreachableLimit) }
    return next.min().map { max(.zero, $0 - clock.now) }
  }

  private func reportIfUnreachable(_ now: ContinuousClock.Instant) {
    let (link, trouble) = client.shared.withLock { ($0.link, $0.lastTrouble) }
    guard link != .up, !isReportedUnreachable, now - downSince >= client.configuration.unreachableLimit else { return }
    isReportedUnreachable = true
    client.deliver(.unreachable(client.unreachableError(after: now - downSince, trouble: trouble)))
  }

  private func takeMonitorEvents() {
    while let event = monitor?.next() {
      switch event.kind {
      case .handshakeSucceeded: becomeConnected()
      case .handshakeDenied: deny()
      case .handshakeFailed: lose(handshakeTrouble)
      case .disconnected: lose("the connection was closed by the coordinator's side")
      case .connectRetried: note("nobody listens there")
      default: break
      }
    }
  }

  private var handshakeTrouble: String {
    if case .curve = client.configuration.security {
      return "whoever listens there is not the coordinator that this key is enrolled with (handshake failed)"
    }
    return "whoever listens there is not a coordinator of this release, or wants a key (handshake failed)"
  }

  /// The coordinator has said that it does not admit this key; trying again would not change it.
  private func deny() {
    let error = CommunicationError(
      .notPermitted, "the coordinator does not admit this key: it was revoked, or never enrolled there",
      hint: "on the coordinator's machine: temper keys list; a new key: temper keys enroll",
      location: client.configuration.endpoint)
    lose(error.message)
    guard client.shared.withLock({ $0.denial == nil }) else { return }
    let pending = client.shared.withLock { shared in
      shared.denial = error
      defer { shared.pending.removeAll() }
      return shared.pending.values.map(\.answer)
    }
    for answer in pending { answer.give(.failure(error)) }
    client.deliver(.incompatible(error))
  }

  private func note(_ trouble: String) { client.shared.withLock { $0.lastTrouble = trouble } }

  private func becomeConnected() {
    client.shared.withLock { $0.link = .greeting }
    client.deliver(.connected)
    flush()
    client.shared.withLock {
      $0.link = .up
      $0.lastTrouble = "connected"
    }
    isReportedUnreachable = false
    flush()
  }

  /// Ends this connection and plans the next.
  private func lose(_ trouble: String) {
    guard socket != nil else { return }
    let wasConnected = client.shared.withLock { shared in
      let wasConnected = shared.link != .down
      shared.link = .down
      shared.outbox.removeAll()
      shared.greetings.removeAll()
      shared.lastTrouble = trouble
      for number in shared.pending.keys { shared.pending[number]?.isSent = false }
      return wasConnected
    }
    drop()
    if wasConnected {
      downSince = clock.now
      wait = client.configuration.backOff.lowerBound
    }
    retryAt = clock.now + wait
    wait = min(wait * 2, client.configuration.backOff.upperBound)
    if wasConnected { client.deliver(.disconnected(trouble)) }
  }

  private func drop() {
    monitor?.close()
    socket?.close()
    monitor = nil
    socket = nil
  }

  private func reconnect() {
    retryAt = nil
    do { try connect() } catch {
      note("\(error)")
      retryAt = clock.now + wait
    }
  }

  /// Sends what is accepted: greetings, then the outbox in order, then requests that this connection has not carried yet.
  private func flush() {
    guard let socket else { return }
    let (outgoing, isGreeting) = client.shared.withLock { shared -> ([WireEnvelope], Bool) in
      guard shared.link != .down else { return ([], false) }
      var outgoing = shared.greetings
      shared.greetings.removeAll()
      guard shared.link == .up else { return (outgoing, true) }
      outgoing += shared.outbox
      shared.outbox.removeAll()
      for (number, pending) in shared.pending.sorted(by: { $0.key < $1.key }) where !pending.isSent {
        outgoing.append(pending.envelope)
        shared.pending[number]?.isSent = true
      }
      return (outgoing, false)
    }
    for envelope in outgoing {
      do {
        let bytes = try ControlFrame.encode(envelope, limit: ControlFrame.maximumByteCountToServer)
        guard socket.send(bytes) == .sent else {
          lose(isGreeting ? "the connection broke while greeting" : "the connection broke while sending")
          return
        }
      } catch {
        answer(envelope.request, .failure(error as? CommunicationError ?? CommunicationError(.malformed, "\(error)")))
      }
    }
  }

  private func answer(_ request: UInt64, _ result: Result<WireEnvelope, CommunicationError>) {
    client.shared.withLock { $0.pending.removeValue(forKey: request) }?.answer.give(result)
  }

  private func receiveAll() {
    while let (parts, partCount, _) = socket?.receive(maximumParts: 1) {
      guard partCount == 1 else { continue }
      do {
        let envelope = try ControlFrame.decode(parts[0])
        if envelope.request != 0, client.shared.withLock({ $0.pending[envelope.request] != nil }) {
          answer(envelope.request, .success(envelope))
        } else {
          if case .refused = envelope.body { refuseAll(envelope) }
          client.deliver(.received(envelope))
        }
      } catch let error as CommunicationError where error.code == .versionMismatch {
        client.deliver(.incompatible(error))
      } catch {
        note("the coordinator's side sent something that is not a control message")
      }
    }
  }

  /// A refusal without a number is meant for everything that is asked: the coordinator could not read the request.
  private func refuseAll(_ refusal: WireEnvelope) {
    for number in client.shared.withLock({ Array($0.pending.keys) }) { answer(number, .success(refusal)) }
  }
}
