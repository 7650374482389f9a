// What systemd wants to hear (sd_notify(3)): a datagram of KEY=VALUE lines to the socket that NOTIFY_SOCKET names. No library needed.
// Used by the shells of coordinator and worker; without NOTIFY_SOCKET there is nobody to tell.

import Foundation
import Synchronization

/// Tells the service manager that started this process how it is.
public final class ServiceNotifier: Sendable {
  private let path: String
  /// How often `alive` must be told, half of it is wise; nil when nobody watches this process.
  public let watchdogInterval: Duration?
  private let lastStatus = Mutex("")

  /// Finds out who listens to this process; nil when nobody does.
  public convenience init?() {
    self.init(environment: ProcessInfo.processInfo.environment, process: getpid())
  }

  /// Finds out who listens; nil when nobody does.
  ///
  /// - Parameters:
  ///   - environment: of this process; NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID count.
  ///   - process: the number of this process: WATCHDOG_PID may mean another.
  init?(environment: [String: String], process: Int32 = getpid()) {
    guard let path = environment["NOTIFY_SOCKET"], path.hasPrefix("/") || path.hasPrefix("@"), path.utf8.count < 108
    else { return nil }
    self.path = path
    let isMeant = environment["WATCHDOG_PID"].map { $0 == "\(process)" } ?? true
    let microseconds = environment["WATCHDOG_USEC"].flatMap { Int64($0) } ?? 0
    watchdogInterval = isMeant && microseconds > 0 ? .microseconds(microseconds) : nil
  }

  /// Started, and at work from now on.
  public func ready() { send("READY=1") }

  /// Leaving, for whatever reason.
  public func stopping() { send("STOPPING=1") }

  /// Getting somewhere; the service manager ends a process that has not told for longer than `watchdogInterval`.
  public func alive() { send("WATCHDOG=1") }

  /// A line for `systemctl status`, told when it changes.
  public func status(_ text: String) {
    let isNew = lastStatus.withLock { last in
      defer { last = text }
      return last != text
    }
    if isNew { send("STATUS=" + text.replacingOccurrences(of: "\n", with: " ")) }
  }

  /// Never waits; a service manager that does not listen misses it.
  private func send(_ text: String) {
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // A leading @ stands for the zero byte of an abstract name.
    var name = Array(path.utf8)
    if name[0] == UInt8(ascii: "@") { name[0] = 0 }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
    let bytes = Array(text.utf8)
    _ = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL), $0, length)
      }
    }
  }
}
