// The fixed binary header of every frame on the data plane. One message is [header][payload]; both little endian.
// 72 bytes, no variable part, every field checked before use, at most 1 MiB is sent so that a frame never holds up a heartbeat.

/// Who sends what, in which generation, step and collective operation, and where the payload belongs.
struct FrameHeader: Hashable {
  /// The purpose of a frame.
  enum Kind: UInt8 {
    /// Names the sender's job, generation and rank; the first frame on a link.
    case hello = 1
    /// A partial sum of one tree piece, for the owner of that part of the bucket.
    case partial = 2
    /// The finished sum of a part of a bucket, from its owner.
    case result = 3
    /// The maxima of the sender's shards.
    case maxima = 4
    /// A part of the sender's block of an all-gather.
    case gather = 5
    /// Asks for the state at a step; `offset` is the number of bytes that may be sent before credit is needed.
    case stateRequest = 6
    /// A part of the state; `total` is its whole size.
    case statePiece = 7
    /// Allows `total` bytes in all to be sent.
    case stateCredit = 8
    /// There is no state to serve; the payload says why, in UTF-8.
    case stateRefused = 9
    /// Offers a peer on the same machine to read payloads where they lie; the payload is a `MemoryOffer`.
    case memoryOffer = 10
    /// Takes the offer.
    case memoryAccepted = 11
    /// Says that loans are read and may change; the payload is their numbers, 8 bytes each.
    case loanReturned = 12
    /// Says that `total` elements of a bucket from `offset` on are summed and finished by their owner, and in `piece` whether
    /// they are finite (1); no payload.
    case finished = 13

    /// Whether the transport deals with it alone.
    var concernsMemory: Bool { self == .memoryOffer || self == .memoryAccepted || self == .loanReturned }
  }

  static let byteCount = 72
  static let magic: UInt32 = 0x4D50_4D54  // "TMPM" in little endian
  static let version: UInt16 = 3
  /// Of what is sent; a loan may be longer.
  static let maximumPayloadByteCount = 1 << 20

  var kind: Kind
  var rank: UInt8
  var job: UInt64
  var generation: UInt64
  var step: UInt64 = 0
  /// Number of the collective operation within the generation; every rank runs the same ones in the same order.
  var sequence: UInt32 = 0
  var bucket: UInt32 = 0
  var piece: UInt32 = 0
  /// Elements of the sum vector for partial and result, bytes otherwise.
  var offset: UInt64 = 0
  var total: UInt64 = 0
  /// Bytes of payload.
  var payloadByteCount: UInt32 = 0
  /// Number of a loan, when the frame carries a `SharedPlace` and not the payload itself; else 0.
  var loan: UInt64 = 0

  /// Writes the header to `byteCount` bytes.
  func encode(into target: UnsafeMutableRawPointer) {
    target.storeBytes(of: Self.magic.littleEndian, as: UInt32.self)
    target.storeBytes(of: Self.version.littleEndian, toByteOffset: 4, as: UInt16.self)
    target.storeBytes(of: kind.rawValue, toByteOffset: 6, as: UInt8.self)
    target.storeBytes(of: rank, toByteOffset: 7, as: UInt8.self)
    target.storeBytes(of: job.littleEndian, toByteOffset: 8, as: UInt64.self)
    target.storeBytes(of: generation.littleEndian, toByteOffset: 16, as: UInt64.self)
    target.storeBytes(of: step.littleEndian, toByteOffset: 24, as: UInt64.self)
    target.storeBytes(of: offset.littleEndian, toByteOffset: 32, as: UInt64.self)
    target.storeBytes(of: total.littleEndian, toByteOffset: 40, as: UInt64.self)
    target.storeBytes(of: sequence.littleEndian, toByteOffset: 48, as: UInt32.self)
    target.storeBytes(of: bucket.littleEndian, toByteOffset: 52, as: UInt32.self)
    target.storeBytes(of: piece.littleEndian, toByteOffset: 56, as: UInt32.self)
    target.storeBytes(of: payloadByteCount.littleEndian, toByteOffset: 60, as: UInt32.self)
    target.storeBytes(of: loan.littleEndian, toByteOffset: 64, as: UInt64.self)
  }

  /// Reads a header; nil for anything that is not exactly one of ours.
  init?(decoding bytes: UnsafeRawBufferPointer) {
    func number<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
      T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }
    guard bytes.count == Self.byteCount, number(0, UInt32.self) == Self.magic, number(4, UInt16.self) == Self.version,
      let kind = Kind(rawValue: bytes[6]),
      number(60, UInt32.self) <= UInt32(Self.maximumPayloadByteCount) || number(64, UInt64.self) != 0
    else { return nil }
    self.kind = kind
    rank = bytes[7]
    job = number(8, UInt64.self)
    generation = number(16, UInt64.self)
    step = number(24, UInt64.self)
    offset = number(32, UInt64.self)
    total = number(40, UInt64.self)
    sequence = number(48, UInt32.self)
    bucket = number(52, UInt32.self)
    piece = number(56, UInt32.self)
    payloadByteCount = number(60, UInt32.self)
    loan = number(64, UInt64.self)
  }

  init(_ kind: Kind, rank: Int, job: UInt64, generation: UInt64, step: UInt64 = 0) {
    self.kind = kind
    self.rank = UInt8(rank)
    self.job = job
    self.generation = generation
    self.step = step
  }
}
