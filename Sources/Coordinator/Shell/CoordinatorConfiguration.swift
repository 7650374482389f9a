// What a coordinator is started with.

import Communication

/// Where a coordinator keeps its files and where it listens.
public struct CoordinatorConfiguration: Sendable {
  /// Version of this program; workers of another version are refused.
  public static let programVersion = ProgramVersion.text

  /// The directory of its files; made if missing, on a local disk.
  public var directory: String
  /// `tcp://ADDRESS:PORT` or `ipc:///PATH`.
  public var endpoints: [String]

  /// A coordinator for this machine alone.
  public init(directory: String, endpoints: [String] = ["tcp://127.0.0.1:7070"]) {
    self.directory = directory
    self.endpoints = endpoints
  }

  /// The endpoints that other machines can reach; what passes there is not encrypted yet.
  public var exposedEndpoints: [String] {
    endpoints.filter { endpoint in
      guard endpoint.hasPrefix("tcp://") else { return false }
      let address = endpoint.dropFirst("tcp://".count)
      return !["127.", "localhost:", "[::1]:"].contains { address.hasPrefix($0) }
    }
  }
}
