// The keys of links between workers: each worker names the key of its data endpoint in its hello, and each member of each
// generation is given a fresh pair when the generation begins. Not persisted: a generation whose begin was sent needs no other.
import Communication
import Foundation
import RunStore

/// Completes GenerationBegin; used by the server's thread.
final class MeshKeyring {
  private struct Generation {
    var number: UInt64
    var pairs: [String: CurveKeyPair] = [:]
  }

  /// Of incarnations that said hello, with the order in which they did.
  private var endpoints: [String: (key: CurvePublicKey, order: UInt64)] = [:]
  private var lastOrder: UInt64 = 0
  private var generations: [JobID: Generation] = [:]
  /// More incarnations than ever are alive at once; the oldest are forgotten.
  private static let mostEndpoints = 16_384

  /// Notes the key of a worker's data endpoint; a worker that runs with `--insecure` has none.
  func learn(_ hello: WireWorkerHello) {
    guard let key = CurvePublicKey(hello.meshKey) else { return }
    lastOrder += 1
    endpoints[hello.incarnation] = (key, lastOrder)
    guard endpoints.count > Self.mostEndpoints else { return }
    let limit = lastOrder - UInt64(Self.mostEndpoints / 2)
    endpoints = endpoints.filter { $0.value.order > limit }
  }

  /// Adds the keys to the message for one member; none when a member has no key, which members with keys then refuse.
  func complete(_ begin: inout WireGenerationBegin, _ briefing: Briefing) {
    let incarnations = briefing.members.map(\.worker.incarnation)
    let keys = incarnations.compactMap { endpoints[$0]?.key }
    guard keys.count == incarnations.count else { return }
    let pairs = incarnations.map { pair(of: $0, briefing.stamp) }
    for index in incarnations.indices {
      begin.members[index].meshKey = Data(keys[index].bytes)
      begin.members[index].linkKey = Data(pairs[index].publicKey.bytes)
    }
    begin.linkSecret = Data(pairs[briefing.rank].secretKey.bytes)
  }

  /// A job is over.
  func forget(_ job: JobID) { generations[job] = nil }

  private func pair(of incarnation: String, _ stamp: Stamp) -> CurveKeyPair {
    var generation = generations[stamp.job] ?? Generation(number: stamp.generation)
    if generation.number != stamp.generation { generation = Generation(number: stamp.generation) }
    let pair = generation.pairs[incarnation] ?? .make()
    generation.pairs[incarnation] = pair
    generations[stamp.job] = generation
    return pair
  }
}
