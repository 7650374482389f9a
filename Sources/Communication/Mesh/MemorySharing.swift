// What a mesh lends to peers on its machine, and what it reads of theirs. A lent payload is a frame whose 40 bytes say where it
// lies (SharedPlace); the peer reads it there and returns it with a frame of its own.
//
// A lender must not change memory that a peer may be reading. While a generation lives, the ledger counts loans like frames that
// libzmq still holds. When it ends, peers are not asked: the lender turns the page of its era first, and a reader looks at
// the era after it has read. What it read while the era stood was whole; what it read later is not used.

import Foundation
import Synchronization

/// What a lender says to a peer at the beginning of a generation.
struct MemoryOffer {
  static let byteCount = SharedPlace.byteCount + 16

  var process: Int32
  /// The page that holds the lender's era.
  var page: SharedPlace
  /// The era of the generation.
  var era: UInt64

  func encode(into target: UnsafeMutableRawPointer) {
    page.encode(into: target)
    target.storeBytes(of: UInt64(process).littleEndian, toByteOffset: 40, as: UInt64.self)
    target.storeBytes(of: era.littleEndian, toByteOffset: 48, as: UInt64.self)
  }

  /// Reads an offer; nil for anything that cannot be one.
  init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.byteCount,
      let page = SharedPlace(decoding: UnsafeRawBufferPointer(rebasing: bytes[..<SharedPlace.byteCount])),
      let process = Int32(exactly: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 40, as: UInt64.self))),
      page.contentByteCount == MemoryPage.byteCount
    else { return nil }
    self.page = page
    self.process = process
    era = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 48, as: UInt64.self))
  }

  init(process: Int32, page: SharedPlace, era: UInt64) {
    self.process = process
    self.page = page
    self.era = era
  }
}

/// The era of a lender, where its peers see it.
enum MemoryPage {
  static let byteCount = 64

  /// The era as it stands; memory that was read before the call was read while it, or an earlier one, stood.
  static func era(at content: UnsafeRawPointer) -> UInt64 {
    atomicMemoryFence(ordering: .acquiring)
    return UnsafeMutableRawPointer(mutating: content).assumingMemoryBound(to: Atomic<UInt64>.self)
      .pointee.load(ordering: .relaxed)
  }

  /// Turns the page; memory that is written after the call is written in the new era.
  static func turn(_ content: UnsafeMutableRawPointer) {
    content.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.add(1, ordering: .sequentiallyConsistent)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }
}

/// The loans of one mesh, given and taken, in the generation that lives; the mesh thread's.
final class MemorySharing {
  /// What peers may be reading: the rank of each loan by its number.
  private var given: [UInt64: Int] = [:]
  private var lastLoan: UInt64 = 0
  /// Bytes lent so far.
  private(set) var lentByteCount: UInt64 = 0
  private let page: SharedSegment?
  private var lenders: [Int: Lender] = [:]
  /// Whether a peer's memory turned out to be unreadable; nothing is accepted from then on.
  private var isRefusing = false

  private final class Lender {
    let offer: MemoryOffer
    let page: ForeignSegment
    var segments: [SharedMark: ForeignSegment] = [:]

    init?(_ offer: MemoryOffer) {
      guard let page = ForeignSegment(process: offer.process, place: offer.page),
        MemoryPage.era(at: page.content) == offer.era
      else { return nil }
      self.offer = offer
      self.page = page
    }
  }

  /// - Parameter isAllowed: whether this mesh lends at all.
  init(isAllowed: Bool) { page = isAllowed ? SharedSegment(byteCount: MemoryPage.byteCount) : nil }

  // MARK: Lending

  /// What to tell peers on this machine; nil when there is nothing to lend.
  var offer: MemoryOffer? {
    page.map { MemoryOffer(process: getpid(), page: $0.place(), era: MemoryPage.era(at: $0.content)) }
  }

  /// A loan of memory that lies in a `SharedBuffer`, to a peer that accepted the offer; nil for other memory.
  func lend(_ payload: UnsafeRawBufferPointer, to rank: Int) -> (number: UInt64, place: SharedPlace)? {
    guard let place = SharedSegment.place(of: payload) else { return nil }
    lastLoan += 1
    given[lastLoan] = rank
    lentByteCount += UInt64(payload.count)
    return (lastLoan, place)
  }

  /// Takes a loan back; false when `rank` has no such loan.
  func takeBack(_ loan: UInt64, from rank: Int) -> Bool {
    guard given[loan] == rank else { return false }
    given[loan] = nil
    return true
  }

  /// Ends the generation's loans, both ways.
  ///
  /// - Returns: the number of loans that were given and not returned.
  func end() -> Int {
    if let page { MemoryPage.turn(page.content) }
    defer { given.removeAll(keepingCapacity: true) }
    lenders.removeAll(keepingCapacity: true)
    return given.count
  }

  // MARK: Reading

  /// Maps what a peer offers; false when it cannot be read, and the peer goes on by sending.
  func accept(_ offer: MemoryOffer, from rank: Int) -> Bool {
    guard !isRefusing, let lender = Lender(offer) else { return false }
    lenders[rank] = lender
    return true
  }

  /// Where a peer's loan lies in this process; nil when it cannot be read.
  func borrow(_ place: SharedPlace, byteCount: Int, from rank: Int) -> UnsafeRawBufferPointer? {
    guard let lender = lenders[rank], Int(place.offset) + byteCount <= Int(place.contentByteCount) else { return nil }
    let segment = lender.segments[place.mark] ?? ForeignSegment(process: lender.offer.process, place: place)
    guard let segment, segment.place.contentByteCount == place.contentByteCount else {
      isRefusing = true
      return nil
    }
    lender.segments[place.mark] = segment
    return UnsafeRawBufferPointer(start: segment.content + Int(place.offset), count: byteCount)
  }

  /// Whether what was just read of a peer's memory was whole.
  func isIntact(_ rank: Int) -> Bool {
    lenders[rank].map { MemoryPage.era(at: $0.page.content) == $0.offer.era } ?? false
  }
}
