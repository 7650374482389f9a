// One rank's part in a direct all-reduce, on the mesh thread.
// A bucket is cut into one chunk per rank, a chunk into granules of at most 1 MiB: a granule travels in one frame. Partial sums of
// a granule are kept in the memory they arrived in until all have come, then added in tree order straight into the result.

/// The caller's buffers of one step; see `AllReduce.begin`.
struct ReduceBuffers: @unchecked Sendable {  // lent to the mesh thread from begin until the gate opens
  var step: UInt64
  var pieces: [UnsafeMutablePointer<Float>]
  var result: UnsafeMutablePointer<Float>
  var maxima: UnsafeMutablePointer<Float>
  /// 0 for floats, else the scale of gradients that travel as halves.
  var halfScale: Float = 0
}

// @unchecked Sendable because one thread has it at a time: the caller until begin, then the mesh thread.
final class ReduceOperation: CollectiveOperation, @unchecked Sendable {
  let gate = Gate()
  var job: UInt64 { membership.job }
  var generation: UInt64 { membership.generation }

  private static let granuleCount = FrameHeader.maximumPayloadByteCount / 4

  private struct Granule {
    var owner: Int
    var range: Range<Int>
    /// Of this rank's granules, the partial sums of other ranks that have not come; of the others, 1 until the result came.
    var missing = 0
  }

  private let membership: MeshMembership
  private let layout: ReductionLayout
  private let sum: TreeSum
  /// The rank that holds each piece of the tree.
  private let holders: [Int]
  private let ownPieces: Range<Int>
  /// By bucket, then by owner, then ascending; `firstGranule[bucket * worldSize + owner]` finds them.
  private var granules: [Granule] = []
  private var firstGranule: [Int] = []
  /// Held partial sums, by granule and piece.
  private var held: [Frame?]
  private let outgoingMaxima: UnsafeMutablePointer<Float>
  private let half: HalfFormat?
  /// What is sent as halves: [own pieces][gradients], then [gradients] of results; made when the first step needs it.
  private var outgoingHalves: UnsafeMutablePointer<UInt16>?
  private var heldMaxima: [Frame] = []

  private var buffers: ReduceBuffers?
  private var sequence: UInt32 = 0
  private var hasSums = true
  private var isSubmitted: [Bool]
  private var areMaximaSubmitted = false
  private var granulesLeft = 0
  private var maximaLeft = 0
  /// Whether every gradient of the result, as far as it stands, is finite.
  private(set) var gradientIsFinite = true

  init(
    membership: MeshMembership, layout: ReductionLayout, ranges: [Range<Int>], shardCount: Int, half: HalfFormat?
  ) {
    self.half = half
    self.membership = membership
    self.layout = layout
    let pieces = ranges.map { ShardTree.pieces(of: $0, shardCount: shardCount) }
    sum = TreeSum(pieces: pieces.flatMap(\.self), shardCount: shardCount)
    holders = pieces.enumerated().flatMap { rank, pieces in pieces.map { _ in rank } }
    let first = pieces[..<membership.rank].reduce(0) { $0 + $1.count }
    ownPieces = first..<first + pieces[membership.rank].count
    for bucket in layout.buckets {
      for owner in 0..<membership.worldSize {
        firstGranule.append(granules.count)
        let chunk = ReductionLayout.chunk(of: bucket, rank: owner, worldSize: membership.worldSize)
        for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: Self.granuleCount) {
          granules.append(Granule(owner: owner, range: start..<min(start + Self.granuleCount, chunk.upperBound)))
        }
      }
    }
    firstGranule.append(granules.count)
    held = [Frame?](repeating: nil, count: granules.count * holders.count)
    isSubmitted = [Bool](repeating: false, count: layout.buckets.count)
    outgoingMaxima = .allocate(capacity: max(1, layout.maximumCount))
    heldMaxima.reserveCapacity(membership.worldSize)
  }

  deinit {
    outgoingMaxima.deallocate()
    outgoingHalves?.deallocate()
  }

  /// How a bucket travels in this step, nil as floats.
  private func halfFormat(_ bucket: Int, _ buffers: ReduceBuffers) -> HalfFormat? {
    buffers.halfScale != 0 && layout.holdsGradients(bucket: bucket) ? half : nil
  }

  private func elementByteCount(_ bucket: Int) -> Int {
    guard let buffers else { return 4 }
    return halfFormat(bucket, buffers) == nil ? 4 : 2
  }

  /// Memory for what is sent of piece `piece` of this rank, `ownPieces.count` for results, from element `start`.
  private func outgoing(_ piece: Int, from start: Int) -> UnsafeMutablePointer<UInt16> {
    let memory = outgoingHalves ?? .allocate(capacity: (ownPieces.count + 1) * layout.gradientCount)
    outgoingHalves = memory
    return memory + piece * layout.gradientCount + start
  }

  /// Takes the buffers of a step; called by the caller's thread before it begins the operation.
  func prepare(_ buffers: ReduceBuffers, sums: Bool) {
    self.buffers = buffers
    hasSums = sums
  }

  var isComplete: Bool { granulesLeft == 0 && maximaLeft == 0 && areMaximaSubmitted && !isSubmitted.contains(false) }

  func begin(sequence: UInt32, on engine: MeshEngine) throws {
    self.sequence = sequence
    let others = membership.worldSize - 1
    areMaximaSubmitted = layout.maximumCount == 0
    maximaLeft = areMaximaSubmitted ? 0 : others
    for bucket in isSubmitted.indices { isSubmitted[bucket] = !hasSums }
    granulesLeft = hasSums ? granules.count : 0
    gradientIsFinite = true
    let foreign = holders.count - ownPieces.count
    for index in granules.indices { granules[index].missing = granules[index].owner == membership.rank ? foreign : 1 }
  }

  func abandon(on engine: MeshEngine) {
    for index in held.indices {
      if let frame = held[index] { engine.transport.release(frame) }
      held[index] = nil
    }
    for frame in heldMaxima { engine.transport.release(frame) }
    heldMaxima.removeAll(keepingCapacity: true)
  }

  private func header(_ kind: FrameHeader.Kind, _ buffers: ReduceBuffers) -> FrameHeader {
    var header = FrameHeader(
      kind, rank: membership.rank, job: membership.job, generation: membership.generation, step: buffers.step)
    header.sequence = sequence
    return header
  }

  // MARK: Sending

  func submit(bucket: Int, on engine: MeshEngine) throws {
    guard let buffers else { return }
    isSubmitted[bucket] = true
    let worldSize = membership.worldSize
    var header = header(.partial, buffers)
    header.bucket = UInt32(bucket)
    let halves = halfFormat(bucket, buffers)
    if let halves, worldSize > 1 {
      let range = layout.buckets[bucket]
      for piece in ownPieces.indices {
        let local = piece - ownPieces.lowerBound
        halves.encode(
          buffers.pieces[local] + range.lowerBound, range.count, buffers.halfScale,
          outgoing(local, from: range.lowerBound))
      }
    }
    // Everybody starts with the next rank, so that no owner is flooded by all at once.
    for distance in 1..<max(2, worldSize) where worldSize > 1 {
      let owner = (membership.rank + distance) % worldSize
      for granule in granules[firstGranule[bucket * worldSize + owner]..<firstGranule[bucket * worldSize + owner + 1]] {
        for piece in ownPieces {
          header.piece = UInt32(piece)
          header.offset = UInt64(granule.range.lowerBound)
          let local = piece - ownPieces.lowerBound
          let payload =
            halves == nil
            ? UnsafeRawBufferPointer(
              start: buffers.pieces[local] + granule.range.lowerBound, count: granule.range.count * 4)
            : UnsafeRawBufferPointer(
              start: outgoing(local, from: granule.range.lowerBound), count: granule.range.count * 2)
          try engine.send(header, payload: payload, to: owner)
        }
      }
    }
    let own = bucket * worldSize + membership.rank
    for index in firstGranule[own]..<firstGranule[own + 1] where granules[index].missing == 0 {
      try finish(index, bucket: bucket, on: engine)
    }
  }

  /// Adds up a granule of this rank and sends the result to all.
  private func finish(_ index: Int, bucket: Int, on engine: MeshEngine) throws {
    guard let buffers else { return }
    let range = granules[index].range
    let target = buffers.result + range.lowerBound
    let base = index * holders.count
    func operand(_ piece: Int) -> (start: UnsafeRawPointer, isHalf: Bool) {
      if ownPieces.contains(piece) {
        return (UnsafeRawPointer(buffers.pieces[piece - ownPieces.lowerBound] + range.lowerBound), false)
      }
      guard let start = held[base + piece]?.payload.baseAddress else {
        preconditionFailure("piece \(piece) is missing")
      }
      return (start, true)
    }
    var payload = UnsafeRawBufferPointer(start: target, count: range.count * 4)
    let isFinite: Bool
    if let halves = halfFormat(bucket, buffers) {
      isFinite = sum.sumHalves(count: range.count, into: target, scale: buffers.halfScale, format: halves) {
        operand($0)
      }
      let result = outgoing(ownPieces.count, from: range.lowerBound)
      halves.encode(target, range.count, buffers.halfScale, result)
      payload = UnsafeRawBufferPointer(start: result, count: range.count * 2)
    } else {
      isFinite = sum.sum(count: range.count, into: target) { operand($0).start }
    }
    note(isFinite, bucket: bucket)
    for piece in 0..<holders.count {
      guard let frame = held[base + piece] else { continue }
      defer { engine.transport.release(frame) }
      held[base + piece] = nil
      try check(frame, on: engine)
    }
    granulesLeft -= 1
    var header = header(.result, buffers)
    header.bucket = UInt32(bucket)
    header.offset = UInt64(range.lowerBound)
    for distance in 1..<membership.worldSize {
      try engine.send(header, payload: payload, to: (membership.rank + distance) % membership.worldSize)
    }
  }

  private func note(_ isFinite: Bool, bucket: Int) {
    if !isFinite && layout.holdsGradients(bucket: bucket) { gradientIsFinite = false }
  }

  /// Refuses what was made of memory that its owner took back meanwhile.
  private func check(_ frame: Frame, on engine: MeshEngine) throws {
    guard !engine.transport.isIntact(frame) else { return }
    throw CommunicationError(
      .generationEnded, "\(membership.describe(Int(frame.header.rank))) is no longer in it", location: membership.title)
  }

  func submitMaxima(on engine: MeshEngine) throws {
    guard let buffers, !areMaximaSubmitted else { return }
    areMaximaSubmitted = true
    outgoingMaxima.update(from: buffers.maxima, count: layout.maximumCount)
    let payload = UnsafeRawBufferPointer(start: outgoingMaxima, count: layout.maximumCount * 4)
    for rank in 0..<membership.worldSize where rank != membership.rank {
      try engine.send(header(.maxima, buffers), payload: payload, to: rank)
    }
    mergeMaxima(on: engine)
  }

  // MARK: Receiving

  func receive(_ frame: Frame, on engine: MeshEngine) throws {
    guard let buffers else { return engine.transport.release(frame) }
    guard frame.header.step == buffers.step else {
      engine.transport.release(frame)
      throw engine.violation(frame, "this member is at step \(buffers.step)")
    }
    switch frame.header.kind {
    case .partial: try receivePartial(frame, on: engine)
    case .result: try receiveResult(frame, buffers, on: engine)
    case .maxima:
      heldMaxima.append(frame)
      guard layout.maximumCount > 0, frame.payload.count == layout.maximumCount * 4, maximaLeft > 0,
        !heldMaxima.dropLast().contains(where: { $0.header.rank == frame.header.rank })
      else { throw engine.violation(frame, "\(frame.payload.count / 4) maxima; expected \(layout.maximumCount), once") }
      mergeMaxima(on: engine)
    default:
      engine.transport.release(frame)
      throw engine.violation(frame, "this member is in an all-reduce")
    }
  }

  /// Waits for all, because this rank's own maxima must not change before they are sent.
  private func mergeMaxima(on engine: MeshEngine) {
    guard let buffers, areMaximaSubmitted, heldMaxima.count == maximaLeft else { return }
    for frame in heldMaxima {
      if let source = frame.payload.baseAddress {
        MaximumReduction.merge(source, into: buffers.maxima, count: layout.maximumCount)
      }
      engine.transport.release(frame)
    }
    heldMaxima.removeAll(keepingCapacity: true)
    MaximumReduction.makeCanonical(buffers.maxima, count: layout.maximumCount)
    maximaLeft = 0
  }

  /// The granule that a frame names, if it is exactly one of `owner`'s.
  private func granule(_ frame: Frame, owner: Int) -> Int? {
    let bucket = Int(frame.header.bucket)
    guard hasSums, bucket < layout.buckets.count else { return nil }
    let place = bucket * membership.worldSize + owner
    let candidates = firstGranule[place]..<firstGranule[place + 1]
    guard let first = candidates.first, frame.header.offset >= UInt64(granules[first].range.lowerBound),
      frame.header.offset <= UInt64(layout.sumCount)
    else { return nil }
    let (quotient, remainder) = (Int(frame.header.offset) - granules[first].range.lowerBound)
      .quotientAndRemainder(dividingBy: Self.granuleCount)
    let index = first + quotient
    guard remainder == 0, candidates.contains(index),
      frame.payload.count == granules[index].range.count * elementByteCount(bucket)
    else {
      return nil
    }
    return index
  }

  private func receivePartial(_ frame: Frame, on engine: MeshEngine) throws {
    let piece = Int(frame.header.piece)
    guard piece < holders.count, holders[piece] == Int(frame.header.rank),
      let index = granule(frame, owner: membership.rank), held[index * holders.count + piece] == nil,
      granules[index].missing > 0
    else {
      engine.transport.release(frame)
      throw engine.violation(
        frame, "a partial sum of piece \(piece), bucket \(frame.header.bucket), that has no place here")
    }
    held[index * holders.count + piece] = frame
    granules[index].missing -= 1
    let bucket = Int(frame.header.bucket)
    if granules[index].missing == 0 && isSubmitted[bucket] { try finish(index, bucket: bucket, on: engine) }
  }

  private func receiveResult(_ frame: Frame, _ buffers: ReduceBuffers, on engine: MeshEngine) throws {
    defer { engine.transport.release(frame) }
    guard Int(frame.header.rank) != membership.rank, let index = granule(frame, owner: Int(frame.header.rank)),
      granules[index].missing == 1, let source = frame.payload.baseAddress
    else { throw engine.violation(frame, "a result of bucket \(frame.header.bucket) that has no place here") }
    granules[index].missing = 0
    granulesLeft -= 1
    let range = granules[index].range
    let target = buffers.result + range.lowerBound
    let bucket = Int(frame.header.bucket)
    if let halves = halfFormat(bucket, buffers) {
      halves.decode(source, range.count, buffers.halfScale, target)
      note(FiniteCheck.isFinite(target, count: range.count), bucket: bucket)
    } else {
      note(FiniteCheck.copy(source, to: target, count: range.count), bucket: bucket)
    }
    try check(frame, on: engine)
  }
}
