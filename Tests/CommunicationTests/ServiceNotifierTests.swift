// What systemd hears.
import Foundation
import Testing

@testable import Communication

@Suite("The service manager")
struct ServiceNotifierTests {
  /// A socket as systemd gives one.
  private func listen(at path: String) -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var name = Array(path.utf8)
    if name.first == UInt8(ascii: "@") { name[0] = 0 }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
    }
    precondition(result == 0)
    return descriptor
  }

  private func next(_ descriptor: Int32) -> String? {
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
    return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
  }

  @Test("hears one datagram per state, by path or by abstract name", arguments: ["/tmp/", "@"])
  func states(prefix: String) throws {
    let path = "\(prefix)temper-notify-\(UUID().uuidString)"
    let descriptor = listen(at: path)
    defer {
      close(descriptor)
      unlink(path)
    }
    let notifier = try #require(ServiceNotifier(environment: ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"]))
    #expect(notifier.watchdogInterval == .seconds(30))
    notifier.ready()
    notifier.status("training\n1 step")
    notifier.status("training\n1 step")
    notifier.alive()
    notifier.stopping()
    let heard = (1...5).map { _ in next(descriptor) }
    #expect(heard == ["READY=1", "STATUS=training 1 step", "WATCHDOG=1", "STOPPING=1", nil])
  }

  @Test("is nobody without a socket, and watches nobody whom it does not mean")
  func absent() throws {
    #expect(ServiceNotifier(environment: [:]) == nil)
    #expect(ServiceNotifier(environment: ["NOTIFY_SOCKET": "vsock:2"]) == nil)
    let other = ["NOTIFY_SOCKET": "@nobody", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"]
    let notifier = try #require(ServiceNotifier(environment: other, process: 2))
    #expect(notifier.watchdogInterval == nil)
    // Nobody listens: no harm.
    notifier.ready()
  }
}
