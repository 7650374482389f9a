// Frames about memory: offers, loans and their return, between members linked by ipc. What they mean is in MemorySharing.

extension ZeroMQTransport {
  private func isCurrent(_ header: FrameHeader) -> Bool {
    membership.map { header.job == $0.job && header.generation == $0.generation } ?? false
  }

  private func header(_ kind: FrameHeader.Kind) -> FrameHeader? {
    membership.map { FrameHeader(kind, rank: $0.rank, job: $0.job, generation: $0.generation) }
  }

  func offerMemory(over link: Link) {
    guard link.isLocal, let offer = sharing.offer, var header = header(.memoryOffer) else { return }
    header.payloadByteCount = UInt32(MemoryOffer.byteCount)
    withUnsafeTemporaryAllocation(byteCount: MemoryOffer.byteCount, alignment: 8) { bytes in
      guard let start = bytes.baseAddress else { return }
      offer.encode(into: start)
      // Should it be lost, the link is too.
      _ = send(header, payload: UnsafeRawBufferPointer(bytes), over: link.dealer)
    }
  }

  private func take(_ offer: MemoryOffer, _ header: FrameHeader) {
    guard let index = links.firstIndex(where: { $0.rank == Int(header.rank) && $0.isLocal }),
      sharing.accept(offer, from: links[index].rank)
    else { return }
    links[index].owesAcceptance = true
    acceptMemory(index)
  }

  func takeEarlyOffers() {
    for (header, offer) in offers where isCurrent(header) { take(offer, header) }
    offers.removeAll(keepingCapacity: true)
  }

  func acceptMemory(_ index: Int) {
    guard links[index].isLinked, links[index].owesAcceptance, let header = header(.memoryAccepted) else { return }
    links[index].owesAcceptance = false
    _ = send(header, payload: UnsafeRawBufferPointer(start: nil, count: 0), over: links[index].dealer)
  }

  /// Deals with a frame about memory, or finds the memory that a frame is about and makes it the payload.
  ///
  /// - Returns: what to report instead of the frame.
  func takeMemory(
    _ header: FrameHeader, _ payload: inout UnsafeRawBufferPointer, from port: MeshPort
  ) -> TransportEvent? {
    let rank = Int(header.rank)
    guard port.isLocal else { return .garbage }
    if header.kind == .memoryOffer {
      guard let offer = MemoryOffer(decoding: payload) else { return .garbage }
      if isCurrent(header) { take(offer, header) } else if offers.count < 256 { offers[header] = offer }
      return nil
    }
    guard isCurrent(header), let index = links.firstIndex(where: { $0.rank == rank && $0.isLocal }) else {
      return .garbage
    }
    switch header.kind {
    case .memoryAccepted:
      links[index].isReader = true
    case .loanReturned:
      guard payload.count % 8 == 0 else { return .garbage }
      for offset in stride(from: 0, to: payload.count, by: 8) {
        let loan = UInt64(littleEndian: payload.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        guard sharing.takeBack(loan, from: rank) else { return .garbage }
        ledger.remove()
      }
    case .partial, .result:
      guard let place = SharedPlace(decoding: payload) else { return .garbage }
      guard let memory = sharing.borrow(place, byteCount: Int(header.payloadByteCount), from: rank) else {
        return .lost(rank: rank, evidence: "its memory cannot be read; it is sent from now on")
      }
      payload = memory
    default: return .garbage
    }
    return nil
  }

  func isIntact(_ frame: Frame) -> Bool { frame.header.loan == 0 || sharing.isIntact(Int(frame.header.rank)) }

  /// Notes that a loan is read.
  func returnLoan(_ frame: FrameHeader) {
    guard frame.loan != 0, isCurrent(frame), let index = links.firstIndex(where: { $0.rank == Int(frame.rank) }) else {
      return
    }
    links[index].readLoans.append(frame.loan.littleEndian)
  }

  func returnReadLoans() {
    for index in links.indices where !links[index].readLoans.isEmpty {
      guard var header = header(.loanReturned) else { return }
      header.payloadByteCount = UInt32(links[index].readLoans.count * 8)
      // Should it be lost, the link is too.
      links[index].readLoans.withUnsafeBytes { _ = send(header, payload: $0, over: links[index].dealer) }
      links[index].readLoans.removeAll(keepingCapacity: true)
    }
  }
}
