// Memory of tensors. A network's tensors are far larger than what the processor's address cache covers in pages of 4 KB (8 MB of
// 2,048 entries), and kernels walk many rows at once, so large blocks ask for pages of 2 MB.

import Glibc

/// Allocates blocks of tensors.
enum LargeMemory {
  private static let pageByteCount = 2 << 20

  /// `byteCount` bytes that start on a cache line, and on a large page where that is worth it; freed by `deallocate`.
  static func allocate(byteCount: Int) -> UnsafeMutableRawPointer {
    guard byteCount >= 2 * pageByteCount else { return .allocate(byteCount: byteCount, alignment: 64) }
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: pageByteCount)
    // Only whole pages; where the kernel gives none, small ones serve.
    madvise(memory, byteCount / pageByteCount * pageByteCount, MADV_HUGEPAGE)
    return memory
  }
}
