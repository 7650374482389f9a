// The thread of a ControlServer: waits, hands messages, losses and ticks to the handler, sends what it and others ask for.
// Ports know who speaks (ControlPort); this loop knows what a message is.

import Foundation
import Synchronization

final class ControlServerLoop {
  /// In the order they were asked for.
  let endpoints: [String]
  private let server: ControlServer
  private let handler: (ControlServer.Event) -> Void
  private let ports: [ControlPort]
  private var poll = PollSet()

  init(server: ControlServer, handler: @escaping (ControlServer.Event) -> Void) throws {
    self.server = server
    self.handler = handler
    var ports: [ControlPort] = []
    var resolved: [String: String] = [:]
    do {
      for isTCP in [true, false] {
        let requested = server.requested.filter { $0.hasPrefix("tcp://") == isTCP }
        guard !requested.isEmpty else { continue }
        let port = try ControlPort(requested, options: server.options, security: server.security)
        ports.append(port)
        for (asked, given) in zip(requested, port.endpoints) { resolved[asked] = given }
      }
    } catch {
      for port in ports { port.close() }
      throw error
    }
    self.ports = ports
    endpoints = server.requested.compactMap { resolved[$0] }
  }

  func run() {
    let clock = ContinuousClock()
    var nextTick = clock.now + server.tickInterval
    while !server.shared.withLock({ $0.isClosed }) {
      resetPoll(receiving: true)
      poll.wait(max(.zero, nextTick - clock.now))
      server.wake.drain()
      flush()
      for port in ports { receiveAll(port) }
      let now = clock.now
      if now >= nextTick {
        deliver(.tick(now))
        nextTick = max(nextTick + server.tickInterval, now)
      }
    }
    flush()
    stopListening()
    for port in ports { port.close() }
  }

  private func resetPoll(receiving: Bool) {
    poll.reset(wake: server.wake)
    for port in ports {
      if receiving { poll.add(port.router) }
      poll.add(port.monitor.pair)
    }
  }

  /// Frees the ports before `close` returns; closing the socket alone leaves that to libzmq's own time.
  private func stopListening() {
    var left = ports.reduce(0) { count, port in count + port.endpoints.count(where: port.router.unbind) }
    let deadline = ContinuousClock().now + .seconds(1)
    while left > 0, ContinuousClock().now < deadline {
      resetPoll(receiving: false)
      poll.wait(.milliseconds(20))
      for port in ports {
        while let event = port.monitor.next() {
          if event.kind == .closed { left -= 1 }
        }
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
    if let router = ports.first(where: { $0.knows(peer) })?.router, let bytes = try? ControlFrame.encode(envelope),
      router.send(peer.bytes, more: true) == .sent
    {
      isSent = router.send(bytes) == .sent
    } else {
      isSent = false
    }
    server.shared.withLock {
      if isSent { $0.counters.sent += 1 } else { $0.counters.undeliverable += 1 }
    }
  }

  private func receiveAll(_ port: ControlPort) {
    port.takeMonitorEvents()
    // A bounded round, so that one flooding peer cannot hold up ticks and losses.
    for _ in 0..<1_000 {
      guard port.receive(take) else { break }
    }
    for peer in port.takeLosses() { deliver(.disconnected(peer)) }
  }

  private func take(_ arrival: ControlPort.Arrival) {
    switch arrival {
    case .introduced(let peer, let principal): deliver(.introduced(peer, principal))
    case .message(let peer, let bytes): handle(bytes, from: peer)
    case .garbage: server.shared.withLock { $0.counters.garbage += 1 }
    case .denied: server.shared.withLock { $0.counters.denied += 1 }
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
