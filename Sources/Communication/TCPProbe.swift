// Whether somebody listens at a TCP endpoint, with a deadline: what `temper doctor` and the coordinator's answer to it are made of.
// Nothing is sent, so the other side sees a connection that says nothing and goes.

import Foundation

/// Tries connections.
public enum TCPProbe {
  /// The ports that workers listen at for each other.
  public static let workerPorts = 20_000..<30_000

  /// Connects to `tcp://HOST:PORT` and hangs up; returns the seconds that it took.
  ///
  /// - Parameters:
  ///   - endpoint: `tcp://HOST:PORT`.
  ///   - ports: others are refused, so that whoever may ask for a probe cannot look around with it.
  ///   - timeout: for the connection, not for looking up the name.
  /// - Throws: `badEndpoint`, or `unreachable` saying why: refused, no route, no answer.
  public static func reach(
    _ endpoint: String, ports: Range<Int> = 1..<65_536, timeout: Duration = .seconds(3)
  ) throws -> Double {
    guard endpoint.hasPrefix("tcp://"), let colon = endpoint.lastIndex(of: ":"),
      endpoint.distance(from: endpoint.startIndex, to: colon) > 6,
      let port = Int(endpoint[endpoint.index(after: colon)...]), ports.contains(port)
    else {
      throw CommunicationError(
        .badEndpoint, "it is not tcp://HOST:PORT with a port of \(ports)", location: endpoint)
    }
    var host = String(endpoint[endpoint.index(endpoint.startIndex, offsetBy: 6)..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, "\(port)", &hints, &found) == 0, let address = found else {
      throw CommunicationError(.unreachable, "the name '\(host)' has no address", location: endpoint)
    }
    defer { freeaddrinfo(found) }
    let clock = ContinuousClock()
    let start = clock.now
    let number = connect(to: address.pointee, timeout)
    guard number == 0 else {
      throw CommunicationError(.unreachable, String(cString: strerror(number)), location: endpoint)
    }
    return (clock.now - start).inSeconds
  }

  /// Returns the error number, 0 when connected.
  private static func connect(to address: addrinfo, _ timeout: Duration) -> Int32 {
    let flags = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let descriptor = socket(address.ai_family, flags, 0)
    guard descriptor >= 0 else { return errno }
    defer { close(descriptor) }
    if Foundation.connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return 0 }
    guard errno == EINPROGRESS else { return errno }
    var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    guard Foundation.poll(&poll, 1, timeout.wholeMilliseconds) == 1 else { return ETIMEDOUT }
    var number: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &length)
    return number
  }
}
