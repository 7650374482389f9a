// What happens to the connections under a socket: made, refused, lost. ZeroMQ hides it from the socket itself.

import CZeroMQ
import Foundation
import Synchronization

/// One event of a connection.
struct MonitorEvent {
  enum Kind {
    case accepted, connected, connectRetried, handshakeSucceeded, handshakeFailed, handshakeDenied,
      disconnected, closed, other
  }
  var kind: Kind
  /// The file descriptor for accepted and disconnected; libzmq never tells the peer (#2306).
  var value: Int32
  var endpoint: String
}

/// The event stream of a socket, read by the thread that owns the socket.
final class SocketMonitor {
  private static let counter = Atomic<UInt64>(0)
  let pair: Socket
  private let watched: Socket

  init(_ socket: Socket) throws {
    watched = socket
    let number = Self.counter.add(1, ordering: .relaxed).newValue
    let endpoint = "inproc://temper-monitor-\(number)"
    guard zmq_socket_monitor(socket.raw, endpoint, ZMQ_EVENT_ALL) == 0 else {
      throw Socket.systemError("zmq_socket_monitor")
    }
    pair = try Socket(.pair)
    try pair.connect(endpoint)
  }

  /// The next event, or nil; never waits.
  func next() -> MonitorEvent? {
    guard let (parts, _, _) = pair.receive(maximumParts: 2), parts.count == 2, parts[0].count == 6 else { return nil }
    let (number, value) = parts[0].withUnsafeBytes {
      ($0.loadUnaligned(as: UInt16.self), $0.loadUnaligned(fromByteOffset: 2, as: Int32.self))
    }
    let kind: MonitorEvent.Kind =
      switch Int32(number) {
      case ZMQ_EVENT_ACCEPTED: .accepted
      case ZMQ_EVENT_CONNECTED: .connected
      case ZMQ_EVENT_CONNECT_RETRIED: .connectRetried
      case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: .handshakeSucceeded
      case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: value == 400 ? .handshakeDenied : .handshakeFailed
      case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: .handshakeFailed
      case ZMQ_EVENT_DISCONNECTED: .disconnected
      case ZMQ_EVENT_CLOSED: .closed
      default: .other
      }
    return MonitorEvent(kind: kind, value: value, endpoint: String(decoding: parts[1], as: UTF8.self))
  }

  /// Stops the events and closes the reading end; call before closing the watched socket.
  func close() {
    zmq_socket_monitor(watched.raw, nil, 0)
    pair.close()
  }
}
