// One rank's part in a direct all-reduce, on the mesh thread: what it sends, and the sums that it owes the others.
// Partial sums of a granule are kept in the memory they arrived in, or where their owner lent them, until all have come, then
// added in tree order straight into the result. What comes in is in +Receiving, maxima are in +Maxima.

// @unchecked Sendable because one thread has it at a time: the caller until begin, then the mesh thread.
final class ReduceOperation: CollectiveOperation, @unchecked Sendable {
  /// A partial sum of one granule.
  struct HeldPart {
    var start: UnsafeRawPointer
    var frame: Frame
  }

  /// Floats summed and finished together, so that they are in the second-level cache between the two.
  private static let finishedAtOnce = 16_384
  /// Where they are; nobody else asks for these sums.
  private let finishedSums = UnsafeMutablePointer<Float>.allocate(capacity: finishedAtOnce)

  let gate = Gate()
  var job: UInt64 { membership.job }
  var generation: UInt64 { membership.generation }

  let membership: MeshMembership
  let layout: ReductionLayout
  let table: GranuleTable
  /// The rank that holds each piece of the tree.
  let holders: [Int]
  let ownPieces: Range<Int>
  private let sum: TreeSum
  private let half: HalfFormat?
  let outgoingMaxima: UnsafeMutablePointer<Float>
  /// What is sent as halves: [own pieces][gradients], then [gradients] of results; made when the first step needs it.
  private var outgoingHalves: UnsafeMutablePointer<UInt16>?

  private(set) var buffers: ReduceBuffers?
  private var sequence: UInt32 = 0
  /// Whether there are sums, not maxima alone.
  private(set) var hasSums = true
  private(set) var isSubmitted: [Bool]
  var areMaximaSubmitted = false
  /// Of this rank's granules, the partial sums of other ranks that have not come; of the others, 1 until the result came.
  var missing: [Int]
  /// Partial sums that have come, by granule and piece.
  var held: [HeldPart?]
  /// Frames released together at the end: those of several granules, and loans, which go back in one message.
  var borrowed: [Frame] = []
  var heldMaxima: [Frame] = []
  var granulesLeft = 0
  var maximaLeft = 0
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
    table = GranuleTable(buckets: layout.buckets, worldSize: membership.worldSize)
    missing = [Int](repeating: 0, count: table.count)
    held = [HeldPart?](repeating: nil, count: table.count * holders.count)
    isSubmitted = [Bool](repeating: false, count: layout.buckets.count)
    outgoingMaxima = .allocate(capacity: max(1, layout.maximumCount))
    heldMaxima.reserveCapacity(membership.worldSize)
  }

  deinit {
    outgoingMaxima.deallocate()
    finishedSums.deallocate()
    outgoingHalves?.deallocate()
  }

  /// How a bucket travels in this step, nil as floats.
  func halfFormat(_ bucket: Int, _ buffers: ReduceBuffers) -> HalfFormat? {
    buffers.halfScale != 0 && layout.holdsGradients(bucket: bucket) ? half : nil
  }

  /// Where what is sent of piece `piece` of this rank begins, `ownPieces.count` for results; element 0 of the sum vector.
  private func outgoing(_ piece: Int) -> UnsafeMutablePointer<UInt16> {
    let memory = outgoingHalves ?? .allocate(capacity: (ownPieces.count + 1) * layout.gradientCount)
    outgoingHalves = memory
    return memory + piece * layout.gradientCount
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
    granulesLeft = hasSums ? table.count : 0
    gradientIsFinite = true
    let foreign = holders.count - ownPieces.count
    for index in missing.indices { missing[index] = table.owners[index] == membership.rank ? foreign : 1 }
  }

  func abandon(on engine: MeshEngine) {
    for index in held.indices {
      if let part = held[index], !isBorrowed(part.frame) { engine.transport.release(part.frame) }
      held[index] = nil
    }
    returnBorrowed(on: engine)
    for frame in heldMaxima { engine.transport.release(frame) }
    heldMaxima.removeAll(keepingCapacity: true)
  }

  /// Whether a frame is one of `borrowed`.
  func isBorrowed(_ frame: Frame) -> Bool {
    frame.header.loan != 0 || frame.payload.count > FrameHeader.maximumPayloadByteCount
  }

  func returnBorrowed(on engine: MeshEngine) {
    for frame in borrowed { engine.transport.release(frame) }
    borrowed.removeAll(keepingCapacity: true)
  }

  func header(_ kind: FrameHeader.Kind, _ buffers: ReduceBuffers) -> FrameHeader {
    var header = FrameHeader(
      kind, rank: membership.rank, job: membership.job, generation: membership.generation, step: buffers.step)
    header.sequence = sequence
    return header
  }

  func note(_ isFinite: Bool, bucket: Int) {
    if !isFinite && layout.holdsGradients(bucket: bucket) { gradientIsFinite = false }
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
      for piece in 0..<ownPieces.count {
        halves.encode(
          buffers.pieces[piece] + range.lowerBound, range.count, buffers.halfScale,
          outgoing(piece) + range.lowerBound)
      }
    }
    // Everybody starts with the next rank, so that no owner is flooded by all at once.
    for distance in 1..<max(2, worldSize) where worldSize > 1 {
      let owner = (membership.rank + distance) % worldSize
      let run = table.granules(bucket: bucket, owner: owner)
      for piece in ownPieces {
        header.piece = UInt32(piece)
        let local = piece - ownPieces.lowerBound
        let memory = halves == nil ? UnsafeRawPointer(buffers.pieces[local]) : UnsafeRawPointer(outgoing(local))
        try send(run, of: memory, elementByteCount: halves == nil ? 4 : 2, as: header, to: owner, on: engine)
      }
    }
    try finishReady(table.granules(bucket: bucket, owner: membership.rank), bucket: bucket, on: engine)
  }

  /// Sends granules in a row of a vector that begins at `memory`: in one frame to who reads them in place, else one by one.
  private func send(
    _ run: Range<Int>, of memory: UnsafeRawPointer, elementByteCount: Int, as header: FrameHeader, to rank: Int,
    on engine: MeshEngine
  ) throws {
    func payload(_ run: Range<Int>) -> UnsafeRawBufferPointer {
      let elements = table.elements(of: run)
      return UnsafeRawBufferPointer(
        start: memory + elements.lowerBound * elementByteCount, count: elements.count * elementByteCount)
    }
    var header = header
    let atOnce = engine.transport.lends(payload(run), to: rank) ? run.count : 1
    for first in stride(from: run.lowerBound, to: run.upperBound, by: max(1, atOnce)) {
      header.offset = UInt64(table.ranges[first].lowerBound)
      try engine.send(header, payload: payload(first..<first + atOnce), to: rank)
    }
  }

  /// Finishes those of this rank's granules for which nothing is missing.
  func finishReady(_ run: Range<Int>, bucket: Int, on engine: MeshEngine) throws {
    var start = run.lowerBound
    while start < run.upperBound {
      var end = start
      while end < run.upperBound && missing[end] == 0 { end += 1 }
      if start < end { try finish(start..<end, bucket: bucket, on: engine) }
      start = end + 1
    }
    if granulesLeft == 0 { returnBorrowed(on: engine) }
  }

  /// Adds up granules of this rank and sends the result to all.
  private func finish(_ run: Range<Int>, bucket: Int, on engine: MeshEngine) throws {
    guard let buffers else { return }
    let halves = halfFormat(bucket, buffers)
    let finishing = layout.holdsGradients(bucket: bucket) ? buffers.finishing : nil
    var isFinite = true
    for index in run {
      let range = table.ranges[index]
      let stride = finishing == nil ? range.count : Self.finishedAtOnce
      for start in Swift.stride(from: range.lowerBound, to: range.upperBound, by: stride) {
        let part = start..<min(start + stride, range.upperBound)
        let target = finishing == nil ? buffers.result + part.lowerBound : finishedSums
        isFinite = addUp(index, part, into: target, bucket: bucket, buffers) && isFinite
        finishing?(part, target)
      }
      try giveUpHeld(index, on: engine)
    }
    note(isFinite, bucket: bucket)
    granulesLeft -= run.count
    if finishing != nil { return try tellFinished(run, bucket: bucket, isFinite, buffers, on: engine) }
    var memory = UnsafeRawPointer(buffers.result)
    if let halves {
      let (elements, result) = (table.elements(of: run), outgoing(ownPieces.count))
      halves.encode(
        buffers.result + elements.lowerBound, elements.count, buffers.halfScale, result + elements.lowerBound)
      memory = UnsafeRawPointer(result)
    }
    var header = header(.result, buffers)
    header.bucket = UInt32(bucket)
    for distance in 1..<membership.worldSize {
      let rank = (membership.rank + distance) % membership.worldSize
      try send(run, of: memory, elementByteCount: halves == nil ? 4 : 2, as: header, to: rank, on: engine)
    }
  }

  /// Tells all that granules of this rank are summed and finished, in place of their sums.
  private func tellFinished(
    _ run: Range<Int>, bucket: Int, _ isFinite: Bool, _ buffers: ReduceBuffers, on engine: MeshEngine
  ) throws {
    let elements = table.elements(of: run)
    var header = header(.finished, buffers)
    header.bucket = UInt32(bucket)
    header.offset = UInt64(elements.lowerBound)
    header.total = UInt64(elements.count)
    header.piece = isFinite ? 1 : 0
    for distance in 1..<membership.worldSize {
      try engine.send(
        header, payload: UnsafeRawBufferPointer(start: nil, count: 0),
        to: (membership.rank + distance) % membership.worldSize)
    }
  }

  /// target = the tree over all pieces, in a part of a granule; says whether all of it is finite.
  private func addUp(
    _ index: Int, _ part: Range<Int>, into target: UnsafeMutablePointer<Float>, bucket: Int, _ buffers: ReduceBuffers
  ) -> Bool {
    let halves = halfFormat(bucket, buffers)
    let offset = (part.lowerBound - table.ranges[index].lowerBound) * (halves == nil ? 4 : 2)
    func operand(_ piece: Int) -> (start: UnsafeRawPointer, isHalf: Bool) {
      if ownPieces.contains(piece) {
        return (UnsafeRawPointer(buffers.pieces[piece - ownPieces.lowerBound] + part.lowerBound), false)
      }
      guard let held = held[index * holders.count + piece] else { preconditionFailure("piece \(piece) is missing") }
      return (held.start + offset, true)
    }
    guard let halves else { return sum.sum(count: part.count, into: target) { operand($0).start } }
    return sum.sumHalves(count: part.count, into: target, scale: buffers.halfScale, format: halves) { operand($0) }
  }

  /// Lets go of the partial sums of a granule, if they were whole until now.
  private func giveUpHeld(_ index: Int, on engine: MeshEngine) throws {
    for place in index * holders.count..<(index + 1) * holders.count {
      guard let part = held[place] else { continue }
      held[place] = nil
      defer { if !isBorrowed(part.frame) { engine.transport.release(part.frame) } }
      try check(part.frame, on: engine)
    }
  }

  /// Refuses what was made of memory that its owner took back meanwhile.
  func check(_ frame: Frame, on engine: MeshEngine) throws {
    guard !engine.transport.isIntact(frame) else { return }
    throw CommunicationError(
      .generationEnded, "\(membership.describe(Int(frame.header.rank))) is no longer in it", location: membership.title)
  }
}
