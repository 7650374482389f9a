// A peer that speaks whatever it likes: a plain TCP or Unix stream to one of our ports.

import Foundation

@testable import Communication

final class RawStream {
  private let descriptor: Int32

  /// Connects to `tcp://127.0.0.1:PORT` or `ipc:///PATH`.
  init(endpoint: String) throws {
    var result: Int32
    if endpoint.hasPrefix("ipc://") {
      descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: endpoint.dropFirst("ipc://".count).utf8) }
      result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
    } else {
      descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = (UInt16(endpoint.split(separator: ":").last.map(String.init) ?? "") ?? 0).bigEndian
      address.sin_addr.s_addr = inet_addr("127.0.0.1")
      result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, 16) }
      }
    }
    guard descriptor >= 0, result == 0 else {
      throw CommunicationError(.system, String(cString: strerror(errno)), location: endpoint)
    }
  }

  deinit { close(descriptor) }

  /// Sends bytes; errors, such as a peer that hung up, are ignored.
  func send(_ bytes: [UInt8]) { _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

  /// Reads and throws away until the other side hangs up.
  func isHungUp(within seconds: Double) -> Bool {
    let deadline = Date(timeIntervalSinceNow: seconds)
    var bytes = [UInt8](repeating: 0, count: 4_096)
    while Date() < deadline {
      var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&item, 1, 50) > 0 else { continue }
      if recv(descriptor, &bytes, bytes.count, 0) <= 0 { return true }
    }
    return false
  }
}
