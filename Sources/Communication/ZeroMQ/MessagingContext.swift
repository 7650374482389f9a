// The ZeroMQ context: one per process, because several CURVE contexts in one process can crash libzmq 4.3.4 (#4015).

import CZeroMQ

/// The process's one ZeroMQ context; sockets are made from it and its I/O threads move their bytes.
///
/// @unchecked Sendable because the pointer never changes, and libzmq's contexts are thread-safe.
public final class MessagingContext: @unchecked Sendable {
  /// The context of this process.
  ///
  /// It lives until the process ends: every socket has LINGER 0, so nothing waits for it.
  public static let shared = MessagingContext()

  let raw: UnsafeMutableRawPointer

  private init() {
    guard let raw = zmq_ctx_new() else {
      fatalError("zmq_ctx_new failed: \(String(cString: zmq_strerror(zmq_errno())))")
    }
    self.raw = raw
    zmq_ctx_set(raw, ZMQ_MAX_SOCKETS, 65_000)
  }

  /// The version of libzmq that this process runs with, as "4.3.4".
  public static var libraryVersion: String {
    var major: Int32 = 0
    var minor: Int32 = 0
    var patch: Int32 = 0
    zmq_version(&major, &minor, &patch)
    return "\(major).\(minor).\(patch)"
  }
}
