// All-gather of blocks of different sizes: logits of an evaluation, say. Every rank sends its block to every other, in frames of 1 MiB.

// @unchecked Sendable because one thread has it at a time: the caller until begin, then the mesh thread.
final class GatherOperation: CollectiveOperation, @unchecked Sendable {
  let gate = Gate()
  let job: UInt64
  let generation: UInt64
  private let membership: MeshMembership
  private let step: UInt64
  private let starts: [Int]
  private let byteCounts: [Int]
  private let all: UnsafeMutableRawBufferPointer
  private var received: [Int]
  private var left: Int

  init(membership: MeshMembership, step: UInt64, byteCounts: [Int], all: UnsafeMutableRawBufferPointer) {
    job = membership.job
    generation = membership.generation
    self.membership = membership
    self.step = step
    self.byteCounts = byteCounts
    self.all = all
    var next = 0
    starts = byteCounts.map { count in
      defer { next += count }
      return next
    }
    received = [Int](repeating: 0, count: byteCounts.count)
    left = next - byteCounts[membership.rank]
  }

  var isComplete: Bool { left == 0 }

  func begin(sequence: UInt32, on engine: MeshEngine) throws {
    let start = starts[membership.rank]
    let own = UnsafeRawBufferPointer(rebasing: all[start..<start + byteCounts[membership.rank]])
    for distance in 1..<max(2, membership.worldSize) where membership.worldSize > 1 {
      for offset in stride(from: 0, to: own.count, by: FrameHeader.maximumPayloadByteCount) {
        var header = FrameHeader(.gather, rank: membership.rank, job: job, generation: generation, step: step)
        header.sequence = sequence
        header.offset = UInt64(offset)
        header.total = UInt64(own.count)
        let end = min(own.count, offset + FrameHeader.maximumPayloadByteCount)
        try engine.send(
          header, payload: UnsafeRawBufferPointer(rebasing: own[offset..<end]),
          to: (membership.rank + distance) % membership.worldSize)
      }
    }
  }

  func receive(_ frame: Frame, on engine: MeshEngine) throws {
    defer { engine.transport.release(frame) }
    let rank = Int(frame.header.rank)
    guard frame.header.kind == .gather, frame.header.step == step else {
      throw engine.violation(frame, "this member is in an all-gather of step \(step)")
    }
    // A link keeps its order, so the next piece is the only one that can come.
    guard rank != membership.rank, frame.header.total == UInt64(byteCounts[rank]),
      frame.header.offset == UInt64(received[rank]), received[rank] + frame.payload.count <= byteCounts[rank]
    else { throw engine.violation(frame, "a block of \(frame.header.total) bytes; expected \(byteCounts[rank])") }
    let start = starts[rank] + received[rank]
    UnsafeMutableRawBufferPointer(rebasing: all[start...]).copyMemory(from: frame.payload)
    received[rank] += frame.payload.count
    left -= frame.payload.count
  }

  func abandon(on engine: MeshEngine) {}
}

extension PeerMesh {
  /// The blocks of all ranks, one after the other in order of rank, on every rank.
  ///
  /// Every rank of the generation calls it at the same place in its sequence of all-reduces and all-gathers.
  /// - Parameters:
  ///   - step: the same on all ranks.
  ///   - block: this rank's bytes, `byteCounts[rank]` of them.
  ///   - byteCounts: by rank, the same on all ranks.
  /// - Throws: `misuse`, `peerLost`, `generationEnded`, `protocolViolation`, `closed`.
  public func allGather(step: UInt64, block: UnsafeRawBufferPointer, byteCounts: [Int]) throws -> [UInt8] {
    guard let membership, byteCounts.count == membership.worldSize, byteCounts.allSatisfy({ $0 >= 0 }),
      block.count == byteCounts[membership.rank]
    else {
      throw CommunicationError(.misuse, "a block of \(block.count) bytes does not fit the byte counts \(byteCounts)")
    }
    if let failure { throw failure }
    let total = byteCounts.reduce(0, +)
    return try [UInt8](unsafeUninitializedCapacity: total) { buffer, count in
      let all = UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: buffer[..<total]))
      let start = byteCounts[..<membership.rank].reduce(0, +)
      UnsafeMutableRawBufferPointer(rebasing: all[start..<start + block.count]).copyMemory(from: block)
      if membership.worldSize > 1 {
        let operation = GatherOperation(membership: membership, step: step, byteCounts: byteCounts, all: all)
        operation.gate.begin()
        command(.begin(operation))
        _ = try operation.gate.wait()
      }
      count = total
    }
  }
}
