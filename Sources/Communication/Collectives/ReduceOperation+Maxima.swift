// Maxima over all ranks: one frame from each to each.

extension ReduceOperation {
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

  func receiveMaxima(_ frame: Frame, on engine: MeshEngine) throws {
    heldMaxima.append(frame)
    guard layout.maximumCount > 0, frame.payload.count == layout.maximumCount * 4, maximaLeft > 0,
      !heldMaxima.dropLast().contains(where: { $0.header.rank == frame.header.rank })
    else { throw engine.violation(frame, "\(frame.payload.count / 4) maxima; expected \(layout.maximumCount), once") }
    mergeMaxima(on: engine)
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
}
