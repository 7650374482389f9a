// The thread of a ControlServer.
// Each received frame carries the descriptor of its connection, and the monitor reports the descriptor of a lost one: so
// descriptors map to identities. libzmq reports a loss before it closes the descriptor; the monitor is read after each receive
// and before the frame is handled, so a frame that came by a reused descriptor finds the old loss already known, and no
// loss is blamed on the wrong peer. What a lost peer had sent is delivered before its loss.

import Foundation
import Synchronization

final class ControlServerLoop {
  let endpoints: [String]
  private let server: ControlServer
  private let handler: (ControlServer.Event) -> Void
  private let router: Socket
  private let monitor: SocketMonitor
  private var poll = PollSet()
  private var identities: [Int32: PeerIdentity] = [:]
  /// Losses that wait until what the peer had sent is delivered.
  private var lost: [PeerIdentity] = []
  /// Descriptors lost before a frame of theirs was handled, in this round.
  private var lostUnknown: Set<Int32> = []

  init(server: ControlServer, handler: @escaping (ControlServer.Event) -> Void) throws {
    self.server = server
    self.handler = handler
    router = try Socket(.router, options: server.options)
    monitor = try SocketMonitor(router)
    do { endpoints = try server.requested.map(router.bind) } catch {
      monitor.close()
      router.close()
      throw error
    }
  }

  func run() {
    let clock = ContinuousClock()
    var nextTick = clock.now + server.tickInterval
    while !server.shared.withLock({ $0.isClosed }) {
      poll.reset(wake: server.wake)
      poll.add(router)
      poll.add(monitor.pair)
      poll.wait(max(.zero, nextTick - clock.now))
      server.wake.drain()
      flush()
      receiveAll()
      let now = clock.now
      if now >= nextTick {
        deliver(.tick(now))
        nextTick = max(nextTick + server.tickInterval, now)
      }
    }
    flush()
    stopListening()
    monitor.close()
    router.close()
  }

  /// Frees the ports before `close` returns; closing the socket alone leaves that to libzmq's own time.
  private func stopListening() {
    var left = endpoints.count(where: router.unbind)
    let deadline = ContinuousClock().now + .seconds(1)
    while left > 0, ContinuousClock().now < deadline {
      poll.reset(wake: server.wake)
      poll.add(monitor.pair)
      poll.wait(.milliseconds(20))
      while let event = monitor.next() {
        if event.kind == .closed { left -= 1 }
      }
    }
  }

  private func deliver(_ event: ControlServer.Event) {
    handler(event)
    flush()
  }

  /// Takes what other threads, or the handler, asked for.
  private func flush() {
    while true {
      let commands = server.shared.withLock { shared in
        let commands = shared.commands
        shared.commands.removeAll()
        return commands
      }
      if commands.isEmpty { return }
      for command in commands {
        switch command {
        case .send(let envelope, let peer): send(envelope, to: peer)
        case .post(let value): handler(.posted(value))
        }
      }
    }
  }

  private func send(_ envelope: WireEnvelope, to peer: PeerIdentity) {
    let isSent: Bool
    if let bytes = try? ControlFrame.encode(envelope), router.send(peer.bytes, more: true) == .sent {
      isSent = router.send(bytes) == .sent
    } else {
      isSent = false
    }
    server.shared.withLock {
      if isSent { $0.counters.sent += 1 } else { $0.counters.undeliverable += 1 }
    }
  }

  private func receiveAll() {
    takeMonitorEvents()
    // A bounded round, so that one flooding peer cannot hold up ticks and losses.
    for _ in 0..<1_000 {
      guard let (parts, partCount, descriptor) = router.receive(maximumParts: 2) else { break }
      takeMonitorEvents()
      guard let first = parts.first else { continue }
      let peer = PeerIdentity(bytes: first)
      introduce(peer, descriptor: descriptor)
      guard partCount == 2 else {
        server.shared.withLock { $0.counters.garbage += 1 }
        continue
      }
      handle(parts[1], from: peer)
    }
    lostUnknown.removeAll()
    let gone = lost
    lost.removeAll()
    for peer in gone { deliver(.disconnected(peer)) }
  }

  private func introduce(_ peer: PeerIdentity, descriptor: Int32) {
    guard descriptor >= 0, identities[descriptor] != peer, !lost.contains(peer) else { return }
    if lostUnknown.contains(descriptor) {
      lost.append(peer)  // it spoke and went before it was known
    } else if let earlier = identities.updateValue(peer, forKey: descriptor) {
      lost.append(earlier)
    }
  }

  private func takeMonitorEvents() {
    while let event = monitor.next() {
      switch event.kind {
      case .accepted: lostUnknown.remove(event.value)
      case .disconnected:
        if let peer = identities.removeValue(forKey: event.value) {
          lost.append(peer)
        } else {
          lostUnknown.insert(event.value)
        }
      default: break
      }
    }
  }

  private func handle(_ bytes: [UInt8], from peer: PeerIdentity) {
    do {
      let envelope = try ControlFrame.decode(bytes)
      server.shared.withLock { $0.counters.received += 1 }
      deliver(.received(peer, envelope))
    } catch let error as CommunicationError where bytes.starts(with: ControlFrame.magic) {
      server.shared.withLock { $0.counters.refused += 1 }
      send(ControlFrame.refusal(of: error), to: peer)
    } catch {
      server.shared.withLock { $0.counters.garbage += 1 }
    }
  }
}
