// What the mesh needs from a network: links to peers by rank, frames, and news of lost links. Used from the mesh thread only.
// Two of them: ZeroMQTransport for processes, MemoryTransport for tests in one process.

import Synchronization

/// One received frame; its payload stays in the transport's memory until `release`.
struct Frame {
  var header: FrameHeader
  /// Identifies the sender's link; fresh for every link, so that an old one cannot be taken for a new one.
  var link: UInt64
  var payload: UnsafeRawBufferPointer
  /// The transport's own handle for the memory.
  var storage: UnsafeMutableRawPointer
}

/// What a transport reports.
enum TransportEvent {
  /// The link to a rank can carry frames.
  case linked(rank: Int)
  /// The link to a rank broke.
  case lost(rank: Int, evidence: String)
  /// A frame came; whoever takes it releases it.
  case frame(Frame)
  /// Something came that is no frame of ours; it is dropped already.
  case garbage
}

/// Frames that were given to the transport without copying and not handed back yet.
///
/// While it is not empty, their memory must not change: a frame that is complete but altered would reach a peer.
final class SendLedger: Sendable {
  private let outstanding = Atomic<Int>(0)
  private let wake: WakePipe

  init(wake: WakePipe) { self.wake = wake }

  var isEmpty: Bool { outstanding.load(ordering: .acquiring) == 0 }
  func add() { outstanding.add(1, ordering: .relaxed) }

  /// Called by libzmq's I/O threads.
  func remove() {
    if outstanding.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { wake.wake() }
  }
}

protocol MeshTransport: AnyObject {
  /// Where peers of other machines reach this member.
  var dataEndpoint: String { get }
  /// Where peers on this machine reach it; empty when there is no such way.
  var localEndpoint: String { get }
  /// The public key of `dataEndpoint`; nil when it asks for none.
  var endpointKey: CurvePublicKey? { get }
  var ledger: SendLedger { get }
  /// Bytes of the payloads that peers read in this member's memory, since the transport was made.
  var lentByteCount: UInt64 { get }

  /// Begins to link to every other rank of the membership; `.linked` follows for each.
  func open(_ membership: MeshMembership) throws
  /// Drops all links at once, with whatever is under way on them.
  func closeLinks()
  /// Whether a peer reads this payload where it lies, so that it may be longer than a frame.
  func lends(_ payload: UnsafeRawBufferPointer, to rank: Int) -> Bool
  /// Gives a frame to a link without waiting; the payload must stay unchanged until the ledger is empty.
  ///
  /// Returns false when the link is broken.
  func send(_ header: FrameHeader, payload: UnsafeRawBufferPointer, to rank: Int) -> Bool
  /// Waits for something to report, at most for `timeout` (nil: for ever), or until `wake`.
  func poll(timeout: Duration?, _ deliver: (TransportEvent) -> Void)
  /// Whether the payload of a frame was whole while it was read; asked afterwards, before the outcome is used.
  func isIntact(_ frame: Frame) -> Bool
  /// Hands the memory of a frame back.
  func release(_ frame: Frame)
  func close()
}
