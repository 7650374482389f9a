// A member that links and introduces itself as rank 1 of two, says what it is told to say, and reads nothing until it is asked to.

import CZeroMQ
import Foundation

@testable import Communication

final class DeafPeer: Sendable {
  let endpoint: String
  private let isAsked = Recorder<Bool>()
  private let counted = Handover<Int>()

  /// Links to a mesh; after the greeting it sends `frames`.
  init(of mesh: PeerMesh, frames: [(header: FrameHeader, payload: [UInt8])] = [], expecting byte: UInt8) {
    let bound = Handover<String>()
    let target = mesh.dataEndpoint
    let (isAsked, counted) = (isAsked, counted)
    OwnerThread().start(name: "deaf") {
      guard let router = try? Socket(.router), let dealer = try? Socket(.dealer) else { return }
      // Two frames are taken from the network, the rest stays with the sender.
      router.set(ZMQ_RCVHWM, 2)
      dealer.setRoutingIdentity(PeerIdentity.fresh().bytes)
      guard let here = try? router.bind("tcp://127.0.0.1:*"), (try? dealer.connect(target)) != nil else { return }
      for (header, payload) in [(FrameHeader(.hello, rank: 1, job: 1, generation: 1), [])] + frames {
        var header = header
        header.payloadByteCount = UInt32(payload.count)
        var bytes = [UInt8](repeating: 0, count: FrameHeader.byteCount)
        bytes.withUnsafeMutableBytes { if let start = $0.baseAddress { header.encode(into: start) } }
        while dealer.send(bytes, more: true) != .sent { usleep(1_000) }
        _ = dealer.send(payload)
        if header.kind == .hello { bound.give(here) }
        // The mesh forms only when both sides have greeted; frames before that would be nobody's.
        while header.kind == .hello && !frames.isEmpty && router.receive(maximumParts: 1) == nil { usleep(1_000) }
      }
      _ = isAsked.wait(30) { $0 == [true] }
      var wrong = 0
      var quietRounds = 0
      while quietRounds < 200 {
        guard let (parts, _, _) = router.receive(maximumParts: 3) else {
          quietRounds += 1
          usleep(1_000)
          continue
        }
        quietRounds = 0
        if let payload = parts.last, payload.count >= 4_096 { wrong += payload.count(where: { $0 != byte }) }
      }
      counted.give(wrong)
    }
    endpoint = bound.take()
  }

  /// Lets it read everything; how many payload bytes were not the expected one.
  func read() -> Int {
    isAsked.add(true)
    return counted.take()
  }
}
