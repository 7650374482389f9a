// Who can reach an address, as far as its text says.

/// What an endpoint's text says about who can reach it.
public enum Endpoint {
  /// Whether only this machine reaches it; ipc endpoints and addresses such as 127.0.0.1.
  public static func isLoopback(_ endpoint: String) -> Bool {
    guard endpoint.hasPrefix("tcp://") else { return true }
    return isLoopback(host: host(of: endpoint))
  }

  /// Whether an address or interface is this machine's own.
  public static func isLoopback(host: String) -> Bool {
    ["localhost", "lo", "::1", "[::1]"].contains(host) || isLoopbackNumber(host)
  }

  /// Whether an address stands for every interface: `*`, `0.0.0.0`, `::`.
  public static func isWildcard(host: String) -> Bool {
    ["*", "0.0.0.0", "0", "::", "[::]", ""].contains(host)
  }

  /// The address or interface of a tcp endpoint.
  public static func host(of endpoint: String) -> String {
    let rest = endpoint.dropFirst("tcp://".count)
    return String(rest[..<(rest.lastIndex(of: ":") ?? rest.endIndex)])
  }

  /// 127.x.y.z, all four numbers: a name such as 127.example.com is somebody else's.
  private static func isLoopbackNumber(_ host: String) -> Bool {
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }
}
