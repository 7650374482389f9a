// What a coordinator is started with.

import Communication

/// Where a coordinator keeps its files and where it listens.
public struct CoordinatorConfiguration: Sendable {
  /// Version of this program; workers of another version are refused.
  public static let programVersion = ProgramVersion.text

  /// The directory of its files; made if missing, on a local disk.
  public var directory: String
  /// `tcp://ADDRESS:PORT`, for holders of enrolled keys, or `ipc:///PATH`, for processes of the same user.
  public var endpoints: [String]

  /// Whether tcp endpoints, on loopback only, are open to anybody on this machine.
  public var insecure: Bool
  /// Folders below which jobs of operators over the network may name data and weights; of this user's own processes any.
  public var dataRoots: [String]

  /// A coordinator for this machine alone.
  public init(
    directory: String, endpoints: [String] = ["tcp://127.0.0.1:7070"], insecure: Bool = false, dataRoots: [String] = []
  ) {
    self.directory = directory
    self.endpoints = endpoints
    self.insecure = insecure
    self.dataRoots = dataRoots
  }
}
