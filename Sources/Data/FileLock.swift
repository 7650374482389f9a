// An advisory lock between processes (flock on a file), released by the system when its holder dies.

import Foundation

/// Holds an exclusive lock until released.
struct FileLock {
  private let descriptor: Int32

  /// Waits for the lock.
  init(_ path: String) throws(DataError) {
    let descriptor = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw DataError(
        code: .unwritable, message: "cannot make a lock file: \(String(cString: strerror(errno)))",
        hint: "check free space and permissions", location: path)
    }
    while flock(descriptor, LOCK_EX) != 0 && errno == EINTR {}
    self.descriptor = descriptor
  }

  func release() { close(descriptor) }
}
