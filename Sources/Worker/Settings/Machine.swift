// What this machine says of itself: processors that this process may use, a name, the way to the coordinator, the time.
public import Foundation

/// The probes behind settings; a value, so that tests need no machine.
public struct Machine: Sendable {
  /// Processors that this process may use.
  public var processors: Setting<Int>
  /// host-pid.
  public var name: String
  /// For deadlines that are told as a time of day.
  public var now: Date
  /// This machine's address on the way to an endpoint, nil when there is no way.
  public var addressOnRoute: @Sendable (String) -> String?

  /// Memberwise.
  public init(
    processors: Setting<Int>, name: String, now: Date, addressOnRoute: @escaping @Sendable (String) -> String?
  ) {
    self.processors = processors
    self.name = name
    self.now = now
    self.addressOnRoute = addressOnRoute
  }

  /// This one.
  public static var current: Machine {
    Machine(
      processors: processors(
        cores: ProcessInfo.processInfo.activeProcessorCount,
        quota: try? String(contentsOfFile: "/sys/fs/cgroup/cpu.max", encoding: .utf8)),
      name: WorkerConfiguration.defaultName, now: Date(), addressOnRoute: { address(onRouteTo: $0) })
  }

  /// The processors of the affinity mask, or fewer when the container's quota says so.
  ///
  /// - Parameter quota: the text of cgroup's cpu.max: "200000 100000" is two processors, "max 100000" all of them.
  static func processors(cores: Int, quota: String?) -> Setting<Int> {
    let numbers = (quota ?? "").split { $0 == " " || $0 == "\n" }.map { Double($0) }
    if numbers.count == 2, let time = numbers[0], let period = numbers[1], period > 0 {
      let count = max(1, Int((time / period).rounded(.up)))
      if count < cores { return Setting(count, .probe("cgroup cpu.max")) }
    }
    return Setting(max(1, cores), .probe("processors"))
  }

  /// Connects a datagram socket, which sends nothing, and asks which address it got.
  static func address(onRouteTo endpoint: String) -> String? {
    guard endpoint.hasPrefix("tcp://"), let colon = endpoint.lastIndex(of: ":") else { return "127.0.0.1" }
    let host = endpoint[endpoint.index(endpoint.startIndex, offsetBy: 6)..<colon]
    var hints = addrinfo()
    hints.ai_family = AF_INET
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(String(host), "9", &hints, &found) == 0, let found else { return nil }
    defer { freeaddrinfo(found) }
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    defer { close(descriptor) }
    guard connect(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0 else { return nil }
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    var text = [CChar](repeating: 0, count: Int(INET_ADDRSTRLEN))
    guard result == 0, inet_ntop(AF_INET, &address.sin_addr, &text, socklen_t(text.count)) != nil else { return nil }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
