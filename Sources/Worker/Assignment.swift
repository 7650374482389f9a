// What a member is told about one generation of a job: the values of GenerationBegin and GenerationSync, checked.

public import Communication

/// One membership of one job.
///
/// Everything a member sends or receives about a job carries it;
/// anything older is dropped.
public struct GenerationKey: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// Number of the job, given by the coordinator, from 1.
  public var job: UInt64
  /// Number of the membership within the job, never reused, from 1.
  public var generation: UInt64

  /// Names generation `generation` of job `job`.
  public init(job: UInt64, generation: UInt64) {
    self.job = job
    self.generation = generation
  }

  /// By job, then by generation.
  public static func < (left: GenerationKey, right: GenerationKey) -> Bool {
    (left.job, left.generation) < (right.job, right.generation)
  }

  /// "job 3 generation 7".
  public var description: String { "job \(job) generation \(generation)" }
}

/// One member of a generation as the others see it.
public struct Peer: Sendable, Hashable {
  /// The worker's name, for logs.
  public var name: String
  /// Where its mesh socket listens, tcp://host:port.
  public var dataEndpoint: String
  /// Where its mesh socket listens for peers on the same host, ipc://path, or empty.
  public var localEndpoint: String
  /// The host it runs on: peers of one host use `localEndpoint`.
  public var host: String
  /// The virtual shards of every global batch that it computes.
  public var shards: Range<Int>

  /// Memberwise.
  public init(name: String, dataEndpoint: String, localEndpoint: String, host: String, shards: Range<Int>) {
    self.name = name
    self.dataEndpoint = dataEndpoint
    self.localEndpoint = localEndpoint
    self.host = host
    self.shards = shards
  }
}

/// A member's place in one generation.
public struct Assignment: Sendable, Hashable {
  /// The job and generation.
  public var key: GenerationKey
  /// This member's rank: its index in `peers`.
  public var rank: Int
  /// All members by rank, this one included.
  public var peers: [Peer]
  /// The resolved job spec, YAML.
  public var spec: String
  /// Folder of the dataset in the coordinator's files.
  public var dataset: String
  /// Folder of the newest complete checkpoint in the coordinator's files, nil if there is none.
  public var checkpoint: String?
  /// File with the weights that the job starts from, nil for random ones.
  public var initialWeights: String?
  /// Keys of the links to the other members; nil when the links are ipc or in the clear.
  public var keys: LinkKeys?

  /// Memberwise.
  public init(
    key: GenerationKey, rank: Int, peers: [Peer], spec: String, dataset: String, checkpoint: String? = nil,
    initialWeights: String? = nil, keys: LinkKeys? = nil
  ) {
    self.keys = keys
    self.key = key
    self.rank = rank
    self.peers = peers
    self.spec = spec
    self.dataset = dataset
    self.checkpoint = checkpoint
    self.initialWeights = initialWeights
  }

  /// "job 1 generation 2: rank 0 of 2, shards 0..<4, with w-7".
  var summary: String {
    var others: [String] = []
    for (other, peer) in peers.enumerated() where other != rank { others.append(peer.name) }
    let company = others.isEmpty ? "alone" : "with " + others.joined(separator: ", ")
    let shards = peers[rank].shards
    return "\(key): rank \(rank) of \(peers.count), shards \(shards.lowerBound)..<\(shards.upperBound), \(company)"
  }
}

/// Where every member of a generation starts, and from whom a member that is elsewhere takes the state.
public struct Synchronization: Sendable, Hashable {
  /// Where the state comes from for a member that does not hold it.
  public enum Source: Sendable, Hashable {
    /// Step 0: every member makes the same initial state from the spec.
    case initialize
    /// The checkpoint named in the assignment.
    case checkpoint
    /// The member of this rank, over the mesh.
    case peer(rank: Int)
  }

  /// Steps committed: training continues with this step, counted from 0.
  public var step: UInt64
  /// Who has the state.
  public var source: Source

  /// Memberwise.
  public init(step: UInt64, source: Source) {
    self.step = step
    self.source = source
  }
}
