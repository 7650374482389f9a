// What other ranks send in an all-reduce: partial sums of this rank's granules and results of theirs.

extension ReduceOperation {
  func receive(_ frame: Frame, on engine: MeshEngine) throws {
    guard let buffers else { return engine.transport.release(frame) }
    guard frame.header.step == buffers.step else {
      engine.transport.release(frame)
      throw engine.violation(frame, "this member is at step \(buffers.step)")
    }
    switch frame.header.kind {
    case .partial: try receivePartial(frame, buffers, on: engine)
    case .result:
      try receiveResult(frame, buffers, on: engine)
      if granulesLeft == 0 { returnBorrowed(on: engine) }
    case .finished:
      try receiveFinished(frame, buffers, on: engine)
      if granulesLeft == 0 { returnBorrowed(on: engine) }
    case .maxima: try receiveMaxima(frame, on: engine)
    default:
      engine.transport.release(frame)
      throw engine.violation(frame, "this member is in an all-reduce")
    }
  }

  /// The granules that a frame carries, if they are exactly some of `owner`'s.
  private func granules(_ frame: Frame, owner: Int, _ elementByteCount: Int) -> Range<Int>? {
    let (count, rest) = frame.payload.count.quotientAndRemainder(dividingBy: elementByteCount)
    guard hasSums, rest == 0 else { return nil }
    return table.granules(
      bucket: Int(frame.header.bucket), owner: owner, offset: frame.header.offset, count: count)
  }

  private func receivePartial(_ frame: Frame, _ buffers: ReduceBuffers, on engine: MeshEngine) throws {
    let (piece, bucket) = (Int(frame.header.piece), Int(frame.header.bucket))
    guard bucket < layout.buckets.count, piece < holders.count, holders[piece] == Int(frame.header.rank),
      let start = frame.payload.baseAddress
    else { throw misplaced(frame, on: engine) }
    let size = halfFormat(bucket, buffers) == nil ? 4 : 2
    guard let run = granules(frame, owner: membership.rank, size),
      run.allSatisfy({ held[$0 * holders.count + piece] == nil && missing[$0] > 0 })
    else { throw misplaced(frame, on: engine) }
    let first = table.ranges[run.lowerBound].lowerBound
    for index in run {
      held[index * holders.count + piece] = HeldPart(
        start: start + (table.ranges[index].lowerBound - first) * size, frame: frame)
      missing[index] -= 1
    }
    if isBorrowed(frame) { borrowed.append(frame) }
    if isSubmitted[bucket] { try finishReady(run, bucket: bucket, on: engine) }
  }

  private func misplaced(_ frame: Frame, on engine: MeshEngine) -> CommunicationError {
    defer { engine.transport.release(frame) }
    return engine.violation(
      frame, "a partial sum of piece \(frame.header.piece), bucket \(frame.header.bucket), that has no place here")
  }

  /// Whether the sums of a bucket stay with who makes them.
  private func isFinishedByOwner(_ bucket: Int, _ buffers: ReduceBuffers) -> Bool {
    buffers.finishing != nil && layout.holdsGradients(bucket: bucket)
  }

  private func receiveFinished(_ frame: Frame, _ buffers: ReduceBuffers, on engine: MeshEngine) throws {
    defer { engine.transport.release(frame) }
    let (owner, bucket) = (Int(frame.header.rank), Int(frame.header.bucket))
    guard owner != membership.rank, bucket < layout.buckets.count, hasSums, isFinishedByOwner(bucket, buffers),
      let count = Int(exactly: frame.header.total),
      let run = table.granules(bucket: bucket, owner: owner, offset: frame.header.offset, count: count),
      run.allSatisfy({ missing[$0] == 1 })
    else { throw engine.violation(frame, "the end of sums of bucket \(frame.header.bucket) that has no place here") }
    for index in run { missing[index] = 0 }
    note(frame.header.piece == 1, bucket: bucket)
    granulesLeft -= run.count
  }

  private func receiveResult(_ frame: Frame, _ buffers: ReduceBuffers, on engine: MeshEngine) throws {
    defer { if isBorrowed(frame) { borrowed.append(frame) } else { engine.transport.release(frame) } }
    let (owner, bucket) = (Int(frame.header.rank), Int(frame.header.bucket))
    let halves = bucket < layout.buckets.count ? halfFormat(bucket, buffers) : nil
    guard owner != membership.rank, bucket < layout.buckets.count,
      let run = granules(frame, owner: owner, halves == nil ? 4 : 2), run.allSatisfy({ missing[$0] == 1 }),
      !isFinishedByOwner(bucket, buffers), let source = frame.payload.baseAddress
    else { throw engine.violation(frame, "a result of bucket \(frame.header.bucket) that has no place here") }
    for index in run { missing[index] = 0 }
    let elements = table.elements(of: run)
    let target = buffers.result + elements.lowerBound
    if let halves {
      halves.decode(source, elements.count, buffers.halfScale, target)
      note(FiniteCheck.isFinite(target, count: elements.count), bucket: bucket)
    } else {
      note(FiniteCheck.copy(source, to: target, count: elements.count), bucket: bucket)
    }
    try check(frame, on: engine)
    granulesLeft -= run.count
  }
}
