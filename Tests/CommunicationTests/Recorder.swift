// Collects what happens on other threads, and waits for it with a deadline.

import Foundation
import Synchronization

/// A list that tests can wait on.
final class Recorder<Element: Sendable>: Sendable {
  private let list = Mutex<[Element]>([])

  func add(_ element: Element) { list.withLock { $0.append(element) } }
  var all: [Element] { list.withLock { $0 } }

  /// Waits until the list satisfies a condition; false when that takes longer than `seconds`.
  func wait(_ seconds: Double = 10, until isDone: ([Element]) -> Bool) -> Bool {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while !isDone(all) {
      if Date() > deadline { return false }
      usleep(1_000)
    }
    return true
  }
}

/// A plain TCP listener on loopback that says something to whoever connects and hangs up: no ZeroMQ at all.
final class StrangeServer: Sendable {
  private let descriptor: Int32

  init(port: UInt16, saying text: String) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var one: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, 16) }
    }
    precondition(bound == 0 && listen(descriptor, 8) == 0)
    self.descriptor = descriptor
    Thread.detachNewThread {
      while true {
        let connection = accept(descriptor, nil, nil)
        if connection < 0 { return }
        _ = write(connection, text, text.utf8.count)
        close(connection)
      }
    }
  }

  func stop() {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
  }
}
