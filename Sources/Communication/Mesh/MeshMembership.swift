// Who is in the mesh of one generation.

/// How one member is reached.
public struct MeshPeer: Sendable, Hashable {
  /// Its name, for messages.
  public var name: String
  /// `tcp://ADDRESS:PORT` of its ROUTER.
  public var dataEndpoint: String
  /// `ipc:///PATH` of its ROUTER; empty when it has none.
  public var ipcEndpoint: String
  /// Its `HostIdentity`; peers with the same one use ipc.
  public var host: String

  /// Makes a peer.
  public init(name: String, dataEndpoint: String, ipcEndpoint: String = "", host: String = "") {
    self.name = name
    self.dataEndpoint = dataEndpoint
    self.ipcEndpoint = ipcEndpoint
    self.host = host
  }
}

/// One membership of one job, as the coordinator committed it; the same on all ranks but for `rank`.
public struct MeshMembership: Sendable, Hashable {
  /// Number of the job.
  public var job: UInt64
  /// Number of the generation within the job; never reused.
  public var generation: UInt64
  /// This member's place in `peers`.
  public var rank: Int
  /// All members by rank, this one included; at most 256.
  public var peers: [MeshPeer]
  /// The keys of the links; nil when all of them are ipc or in the clear.
  public var keys: LinkKeys?

  /// Makes a membership.
  public init(job: UInt64, generation: UInt64, rank: Int, peers: [MeshPeer], keys: LinkKeys? = nil) {
    self.keys = keys
    self.job = job
    self.generation = generation
    self.rank = rank
    self.peers = peers
  }

  /// Number of members.
  public var worldSize: Int { peers.count }

  /// Whether all members are on one machine and linked by ipc; the same answer on all ranks.
  public var isOnOneMachine: Bool {
    peers.allSatisfy { $0.host == peers[0].host && !$0.host.isEmpty && !$0.ipcEndpoint.isEmpty }
  }

  func describe(_ rank: Int) -> String {
    let name = peers.indices.contains(rank) ? peers[rank].name : ""
    return name.isEmpty ? "rank \(rank)" : "rank \(rank) (\(name))"
  }

  var title: String { "job \(job), generation \(generation)" }
}

/// Positive evidence that a member is gone; it belongs to one generation.
public struct PeerLoss: Sendable, Hashable {
  /// Number of the job.
  public var job: UInt64
  /// Number of the generation, which is over.
  public var generation: UInt64
  /// The member to which the link broke.
  public var rank: Int
  /// What was seen.
  public var evidence: String
}

/// Bytes and frames on the data plane since the mesh was made.
public struct MeshTraffic: Sendable, Hashable {
  /// Payload bytes given to links.
  public var sentBytes: UInt64 = 0
  /// Of these, bytes that peers on this machine read where they lie.
  public var lentBytes: UInt64 = 0
  /// Payload bytes of frames that were used.
  public var receivedBytes: UInt64 = 0
  /// Frames given to links.
  public var sentFrames: UInt64 = 0
  /// Frames that were used.
  public var receivedFrames: UInt64 = 0
  /// Frames of another generation or of links that never introduced themselves, and garbage; dropped.
  public var droppedFrames: UInt64 = 0
}
