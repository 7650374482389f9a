// Room for the store on a disk that somebody else fills: a file that only takes up space. When a commit finds the disk full, the
// file goes and the commit is tried again; when there is plenty of room, it comes back. The write-ahead log is folded into the
// database every 1,000 pages (4 MiB) and then used again, so the reserve lasts for far more commits than it has bytes for.
import Foundation
import Synchronization

/// Disk space that can be given up.
final class SpaceReserve: Sendable {
  static let byteCount = 8 << 20

  private let path: String
  private let isHeld = Mutex(false)

  /// Takes the space, if there is any.
  init(path: String) {
    self.path = path
    isHeld.withLock { $0 = take() }
  }

  /// Gives the space up; false when there was none to give.
  func release() -> Bool {
    isHeld.withLock { held in
      defer { held = false }
      return held && unlink(path) == 0
    }
  }

  /// Takes the space back when the disk has several times as much.
  func replenish() {
    isHeld.withLock { held in
      guard !held, freeByteCount(of: (path as NSString).deletingLastPathComponent) > 4 * UInt64(Self.byteCount) else {
        return
      }
      held = take()
    }
  }

  private func take() -> Bool {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    guard posix_fallocate(descriptor, 0, off_t(Self.byteCount)) == 0 else {
      unlink(path)
      return false
    }
    return true
  }
}

/// Bytes that an unprivileged writer may still take on the file system of a path; 0 when that cannot be told.
package func freeByteCount(of path: String) -> UInt64 {
  var status = statvfs()
  guard statvfs(path, &status) == 0 else { return 0 }
  return UInt64(status.f_bavail) * UInt64(status.f_frsize)
}
