// Keys of the links between the members of one generation. The coordinator hands out a fresh pair to each member of each
// generation, so whoever is not in it, a revoked worker above all, cannot link to those who are.

import Foundation
import Synchronization

/// What one member has to know to link to the others and to recognize them; arrays are by rank.
public struct LinkKeys: Sendable, Hashable {
  /// This member's own pair, for this generation only.
  public var own: CurveKeyPair
  /// The keys of the members' data endpoints.
  public var endpoints: [CurvePublicKey]
  /// The keys by which members are known in this generation.
  public var members: [CurvePublicKey]

  /// Makes the keys of one member.
  public init(own: CurveKeyPair, endpoints: [CurvePublicKey], members: [CurvePublicKey]) {
    self.own = own
    self.endpoints = endpoints
    self.members = members
  }
}

/// Decides who may link to a member: the members of the generation it forms or has formed.
final class LinkGate: KeyGate {
  private struct Admitted {
    var job: UInt64
    var generation: UInt64
    var ranks: [CurvePublicKey: Int]
  }

  private let admitted = Mutex<Admitted?>(nil)

  /// A peer may hear of a generation a little earlier than this member.
  var patience: Duration { .seconds(2) }

  func admits(_ key: CurvePublicKey) -> Bool { admitted.withLock { $0?.ranks[key] != nil } }

  /// Whether a key is that of a rank of a generation: what a peer's first frame claims.
  func confirms(_ header: FrameHeader, from key: CurvePublicKey) -> Bool {
    admitted.withLock {
      $0?.job == header.job && $0?.generation == header.generation && $0?.ranks[key] == Int(header.rank)
    }
  }

  func open(_ membership: MeshMembership, _ keys: LinkKeys) {
    var ranks: [CurvePublicKey: Int] = [:]
    for (rank, key) in keys.members.enumerated() where rank != membership.rank { ranks[key] = rank }
    let (job, generation) = (membership.job, membership.generation)
    admitted.withLock { [ranks] in $0 = Admitted(job: job, generation: generation, ranks: ranks) }
  }

  func close() { admitted.withLock { $0 = nil } }
}
