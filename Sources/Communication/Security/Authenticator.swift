// The ZAP handler of the process (ZeroMQ RFC 27): libzmq asks it about every CURVE handshake before the peer becomes a peer.
// One per context, at inproc://zeromq.zap.01, on a thread of its own. Each server socket has a domain of its own and decides by its
// own list. A key that a list may yet learn (a peer that heard of a generation earlier than this process) is answered late.

import Foundation
import Synchronization

/// Decides about keys of one server socket.
protocol KeyGate: AnyObject, Sendable {
  /// Called on the authenticator's thread; must not wait.
  func admits(_ key: CurvePublicKey) -> Bool
  /// How long an unknown key waits for becoming known before it is refused.
  var patience: Duration { get }
}

extension AccessList: KeyGate {
  func admits(_ key: CurvePublicKey) -> Bool { principal(of: key) != nil }
  /// A key may be enrolled a moment before the server has read the list again.
  var patience: Duration { .seconds(1) }
}

/// Answers libzmq's questions about keys.
final class Authenticator: Sendable {
  private static let instance = Result { try Authenticator() }

  /// The handler of this process, started by the first use.
  ///
  /// - Throws: `system` when its socket cannot be made.
  static func shared() throws -> Authenticator { try instance.get() }

  /// Counts since the start.
  struct Counters: Sendable {
    var admitted = 0
    var refused = 0
  }

  private struct State {
    var gates: [String: any KeyGate] = [:]
    var nextDomain: UInt64 = 1
    var counters = Counters()
  }

  private let state = Mutex(State())
  private let wake: WakePipe
  private let thread = OwnerThread()

  private init() throws {
    wake = try WakePipe()
    let outcome = Handover<Result<Void, any Error>>()
    thread.start(name: "zap") { [self] in
      do {
        let socket = try Socket(.router)
        _ = try socket.bind("inproc://zeromq.zap.01")
        outcome.give(.success(()))
        run(socket)
      } catch {
        outcome.give(.failure(error))
      }
    }
    try outcome.take().get()
  }

  /// Gives a server socket a domain; until `unregister`.
  func register(_ gate: any KeyGate) -> String {
    state.withLock { state in
      let domain = "temper-\(state.nextDomain)"
      state.nextDomain += 1
      state.gates[domain] = gate
      return domain
    }
  }

  func unregister(_ domain: String) { state.withLock { _ = $0.gates.removeValue(forKey: domain) } }

  /// A gate admits other keys now; from any thread.
  func gateChanged() { wake.wake() }

  var counters: Counters { state.withLock { $0.counters } }

  // MARK: The thread

  /// A question that waits for its key to become known.
  private struct Question {
    var envelope: [[UInt8]]
    var domain: String
    var key: CurvePublicKey
    var until: ContinuousClock.Instant
  }

  /// More than these are refused at once, oldest first.
  private static let mostWaiting = 1_024

  private func run(_ socket: Socket) {
    let clock = ContinuousClock()
    var waiting: [Question] = []
    var poll = PollSet()
    while true {
      poll.reset(wake: wake)
      poll.add(socket)
      poll.wait(waiting.map(\.until).min().map { max(.zero, $0 - clock.now) })
      wake.drain()
      while let (parts, partCount, _) = socket.receive(maximumParts: 16) {
        if let question = read(parts, partCount: partCount, at: clock.now, socket) { waiting.append(question) }
      }
      let now = clock.now
      let excess = waiting.count - Self.mostWaiting
      var kept: [Question] = []
      for (index, question) in waiting.enumerated() {
        let gate = state.withLock { $0.gates[question.domain] }
        if let gate, gate.admits(question.key) {
          answer(question.envelope, key: question.key, socket)
        } else if gate == nil || question.until <= now || index < excess {
          answer(question.envelope, key: nil, socket)
        } else {
          kept.append(question)
        }
      }
      waiting = kept
    }
  }

  /// ROUTER gives [route, empty] then ZAP: version, request id, domain, address, identity, mechanism, credentials.
  private func read(
    _ parts: [[UInt8]], partCount: Int, at now: ContinuousClock.Instant, _ socket: Socket
  ) -> Question? {
    guard parts.count == partCount, parts.count >= 4, parts[1].isEmpty else { return nil }
    let envelope = Array(parts[..<2]) + [parts[3]]
    guard parts.count == 9, parts[2] == Array("1.0".utf8), parts[7] == Array("CURVE".utf8),
      let key = CurvePublicKey(parts[8])
    else {
      answer(envelope, key: nil, socket)
      return nil
    }
    let domain = String(decoding: parts[4], as: UTF8.self)
    let patience = state.withLock { $0.gates[domain] }?.patience ?? .zero
    return Question(envelope: envelope, domain: domain, key: key, until: now + patience)
  }

  /// Status 200 with the key as User-Id, or 400, which ends the handshake.
  private func answer(_ envelope: [[UInt8]], key: CurvePublicKey?, _ socket: Socket) {
    let status = key == nil ? "400" : "200"
    let text = key == nil ? "this key is not enrolled" : "OK"
    let frames = [
      envelope[0], envelope[1], Array("1.0".utf8), envelope[2], Array(status.utf8), Array(text.utf8),
      Array((key?.z85 ?? "").utf8), [],
    ]
    for (index, frame) in frames.enumerated() {
      // The peer may have gone meanwhile; then the route is unknown and the rest is not sent.
      guard socket.send(frame, more: index + 1 < frames.count) == .sent else { return }
    }
    state.withLock { if key == nil { $0.counters.refused += 1 } else { $0.counters.admitted += 1 } }
  }
}
