// State for newcomers, from peer to peer: pieces of 1 MiB, as many under way as the receiver has given credit for.
// Credit, because libzmq's high-water marks are off (a finite one with heartbeats aborts the process, libzmq #3937).

import Foundation

/// A state being fetched; the mesh thread's from `fetch` until the gate opens.
final class StateFetch: @unchecked Sendable {  // handed over by a command, handed back by the gate
  let rank: Int
  let step: UInt64
  let maximumByteCount: Int
  let gate = Gate()
  var bytes: [UInt8] = []
  var total: Int?
  /// Bytes received so far; others read it to see progress.
  var received = 0

  init(rank: Int, step: UInt64, maximumByteCount: Int) {
    self.rank = rank
    self.step = step
    self.maximumByteCount = maximumByteCount
  }
}

struct StateTransfer {
  private static let pieceByteCount = FrameHeader.maximumPayloadByteCount
  private static let window = 8 * pieceByteCount

  var provider: StateProvider?
  private var fetch: StateFetch?
  private var served: [UInt64: UnsafeMutableRawBufferPointer] = [:]
  private var outgoing: [Int: Outgoing] = [:]

  private struct Outgoing {
    var step: UInt64
    var bytes: UnsafeRawBufferPointer
    var offset = 0
    var allowed: Int
  }

  /// Frees what earlier generations served; only once libzmq has let go of it.
  mutating func reset() {
    for bytes in served.values { bytes.deallocate() }
    served.removeAll()
  }

  /// Ends all transfers of a generation; returns who waits.
  mutating func abandon() -> [Gate] {
    defer { fetch = nil }
    outgoing.removeAll()
    return fetch.map { [$0.gate] } ?? []
  }

  mutating func start(_ fetch: StateFetch, on engine: MeshEngine) throws {
    guard let membership = engine.membership else { return }
    self.fetch = fetch
    var request = FrameHeader(
      .stateRequest, rank: membership.rank, job: membership.job, generation: membership.generation, step: fetch.step)
    request.total = UInt64(Self.window)
    try engine.send(request, payload: UnsafeRawBufferPointer(start: nil, count: 0), to: fetch.rank)
  }

  mutating func giveUp(_ fetch: StateFetch, after timeout: Duration, on engine: MeshEngine) {
    guard self.fetch === fetch else { return }
    self.fetch = nil
    fetch.gate.fail(
      CommunicationError(
        .timedOut,
        "\(engine.membership?.describe(fetch.rank) ?? "the peer") sent no state for \(timeout.inSeconds) s "
          + "(\(fetch.received) bytes so far)", location: engine.membership?.title ?? ""))
  }

  mutating func receive(_ frame: Frame, on engine: MeshEngine) throws {
    switch frame.header.kind {
    case .stateRequest: try serve(frame, on: engine)
    case .stateCredit:
      let rank = Int(frame.header.rank)
      outgoing[rank]?.allowed = Int(clamping: frame.header.total)
      try pump(rank, on: engine)
    case .statePiece: try take(frame, on: engine)
    case .stateRefused:
      guard let fetch, fetch.rank == Int(frame.header.rank) else { return }
      self.fetch = nil
      let reason = String(decoding: frame.payload, as: UTF8.self)
      fetch.gate.fail(CommunicationError(.unavailable, reason, location: engine.membership?.describe(fetch.rank) ?? ""))
    default: break
    }
  }

  // MARK: Giving

  private mutating func serve(_ frame: Frame, on engine: MeshEngine) throws {
    let step = frame.header.step
    let rank = Int(frame.header.rank)
    do {
      if served[step] == nil {
        guard let provider else { throw CommunicationError(.unavailable, "this member has no state to serve") }
        let bytes = try provider(step)
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
        copy.copyBytes(from: bytes)
        served[step] = copy
      }
    } catch {
      return try refuse(
        rank, step: step, because: "\((error as? CommunicationError)?.message ?? "\(error)")", on: engine)
    }
    guard let bytes = served[step] else { return }
    outgoing[rank] = Outgoing(
      step: step, bytes: UnsafeRawBufferPointer(bytes), allowed: Int(clamping: frame.header.total))
    try pump(rank, on: engine)
  }

  private mutating func refuse(_ rank: Int, step: UInt64, because reason: String, on engine: MeshEngine) throws {
    guard let membership = engine.membership else { return }
    let text = Array(reason.utf8.prefix(4_096))
    // Kept with the served states, whose memory outlives the sending.
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: text.count, alignment: 1)
    copy.copyBytes(from: text)
    served[UInt64.max - UInt64(served.count)] = copy
    let header = FrameHeader(
      .stateRefused, rank: membership.rank, job: membership.job, generation: membership.generation, step: step)
    try engine.send(header, payload: UnsafeRawBufferPointer(copy), to: rank)
  }

  /// Sends as much as credit allows; an empty state is one empty piece.
  private mutating func pump(_ rank: Int, on engine: MeshEngine) throws {
    guard var transfer = outgoing[rank], let membership = engine.membership else { return }
    let total = transfer.bytes.count
    while transfer.offset < min(total, transfer.allowed) || total == 0 {
      let count = min(Self.pieceByteCount, total - transfer.offset)
      var header = FrameHeader(
        .statePiece, rank: membership.rank, job: membership.job, generation: membership.generation, step: transfer.step)
      header.offset = UInt64(transfer.offset)
      header.total = UInt64(total)
      let piece = UnsafeRawBufferPointer(rebasing: transfer.bytes[transfer.offset..<transfer.offset + count])
      try engine.send(header, payload: piece, to: rank)
      transfer.offset += count
      if total == 0 { break }
    }
    outgoing[rank] = transfer.offset == total ? nil : transfer
  }

  // MARK: Taking

  private mutating func take(_ frame: Frame, on engine: MeshEngine) throws {
    guard let fetch, fetch.rank == Int(frame.header.rank), fetch.step == frame.header.step else { return }
    let total = Int(clamping: frame.header.total)
    if fetch.total == nil {
      guard total <= fetch.maximumByteCount else {
        throw engine.violation(frame, "a state of \(total) bytes; the limit is \(fetch.maximumByteCount)")
      }
      fetch.total = total
      fetch.bytes = [UInt8](repeating: 0, count: total)
    }
    guard total == fetch.total, frame.header.offset == UInt64(fetch.received),
      fetch.received + frame.payload.count <= total
    else {
      throw engine.violation(frame, "piece at \(frame.header.offset) of \(total) bytes; expected \(fetch.received)")
    }
    let start = fetch.received
    fetch.bytes.withUnsafeMutableBytes { target in
      UnsafeMutableRawBufferPointer(rebasing: target[start...]).copyMemory(from: frame.payload)
    }
    fetch.received += frame.payload.count
    if fetch.received == total {
      self.fetch = nil
      fetch.gate.finish()
    } else if fetch.received % (Self.window / 2) == 0, let membership = engine.membership {
      var credit = FrameHeader(
        .stateCredit, rank: membership.rank, job: membership.job, generation: membership.generation, step: fetch.step)
      credit.total = UInt64(fetch.received + Self.window)
      try engine.send(credit, payload: UnsafeRawBufferPointer(start: nil, count: 0), to: fetch.rank)
    }
  }
}

extension PeerMesh {
  /// Says how to make the state that newcomers fetch from this member; holds for all generations until replaced.
  ///
  /// The provider runs on the mesh thread, between generations' forming and starting: nothing else is under way then. What it
  /// throws reaches the newcomer as words.
  public func serveState(_ provider: @escaping StateProvider) {
    command(.serve(provider))
  }

  /// Fetches the state at a step from a peer of the formed generation.
  ///
  /// - Parameters:
  ///   - rank: the peer that serves.
  ///   - step: the step whose state is asked for.
  ///   - maximumByteCount: refused above this, before memory is taken.
  ///   - timeout: for the whole transfer.
  /// - Throws: `unavailable` with the peer's reason, `timedOut`, `peerLost`, `generationEnded`.
  public func fetchState(
    step: UInt64, from rank: Int, maximumByteCount: Int = 4 << 30, timeout: Duration
  ) throws -> [UInt8] {
    guard let membership, membership.peers.indices.contains(rank), rank != membership.rank else {
      throw CommunicationError(.misuse, "state is fetched from another rank of the generation, not from \(rank)")
    }
    let fetch = StateFetch(rank: rank, step: step, maximumByteCount: maximumByteCount)
    fetch.gate.begin()
    command(.fetch(fetch))
    if try !fetch.gate.wait(until: Date(timeIntervalSinceNow: timeout.inSeconds)) {
      command(.giveUpFetching(fetch, after: timeout))
      _ = try fetch.gate.wait()
    }
    return fetch.bytes
  }
}
