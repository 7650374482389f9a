// Memory that other processes of the same user on this machine can read in place, so that gradients between workers of one host
// are added where they lie instead of going through a socket, which costs four copies.
//
// It is an anonymous file (memfd_create): it has no name to clean up, is gone with the last process that maps it, and others
// reach it as /proc/PID/fd/N, which the kernel allows to processes of the same user that could trace this one. It cannot
// shrink (sealed), so a reader never faults. A random mark tells a reader that it opened what was meant.

import CLinux
import Foundation
import Glibc
import Synchronization

/// Floats in shared memory, zero at first, valid as long as the object, also when the process that made them is gone.
///
/// `@unchecked Sendable` because the values are plain memory: who may write them is the owner's business.
public final class SharedBuffer: @unchecked Sendable {
  /// Number of Floats.
  public let count: Int
  /// The first Float, on a page boundary.
  public let pointer: UnsafeMutablePointer<Float>
  /// What is lent out, where this process made the buffer.
  private let segment: SharedSegment?
  private let foreign: ForeignSegment?

  /// Makes a buffer, and lets meshes of this process lend it out.
  ///
  /// - Returns: nil where the system gives no such memory; ordinary memory serves as well, only slower.
  public init?(count: Int) {
    guard let segment = SharedSegment(byteCount: 4 * count) else { return nil }
    self.segment = segment
    foreign = nil
    self.count = count
    pointer = segment.content.bindMemory(to: Float.self, capacity: count)
    SharedSegment.registry.withLock { $0.append(Unowned(segment: segment)) }
  }

  /// Maps a buffer of another process of this machine, to read and to write.
  ///
  /// - Parameters:
  ///   - address: what the maker's `address` says.
  ///   - count: number of Floats, as it was made.
  /// - Returns: nil where there is no such buffer, or this process may not map it.
  public init?(address: some Sequence<UInt8>, count: Int) {
    let bytes = [UInt8](address)
    let found = bytes.withUnsafeBytes { bytes -> (process: Int32, place: SharedPlace)? in
      guard bytes.count == Self.addressByteCount,
        let place = SharedPlace(decoding: UnsafeRawBufferPointer(rebasing: bytes[..<SharedPlace.byteCount])),
        let process = Int32(exactly: UInt64(littleEndian: bytes.load(fromByteOffset: 40, as: UInt64.self)))
      else { return nil }
      return (process, place)
    }
    guard let found, found.place.contentByteCount == UInt64(4 * count), found.place.offset == 0,
      let foreign = ForeignSegment(process: found.process, place: found.place, isWritable: true)
    else { return nil }
    segment = nil
    self.foreign = foreign
    self.count = count
    pointer = UnsafeMutableRawPointer(mutating: foreign.content).bindMemory(to: Float.self, capacity: count)
  }

  deinit {
    guard let segment else { return }
    SharedSegment.registry.withLock { $0.removeAll { $0.segment === segment } }
  }

  /// Bytes of an `address`.
  public static let addressByteCount = SharedPlace.byteCount + 8

  /// Where other processes of this user on this machine find the buffer, for `init(address:count:)`; empty where it is not this
  /// process's own.
  public var address: [UInt8] {
    guard let segment else { return [] }
    var bytes = [UInt8](repeating: 0, count: Self.addressByteCount)
    bytes.withUnsafeMutableBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      segment.place().encode(into: start)
      start.storeBytes(of: UInt64(getpid()).littleEndian, toByteOffset: SharedPlace.byteCount, as: UInt64.self)
    }
    return bytes
  }

  struct Unowned {
    unowned let segment: SharedSegment
  }
}

/// Where shared memory is, for another process.
struct SharedPlace: Equatable {
  static let byteCount = 40

  /// The owner's descriptor of the file.
  var descriptor: UInt32
  var mark: SharedMark
  /// Bytes of content, and where in it something begins.
  var contentByteCount: UInt64
  var offset: UInt64

  func encode(into target: UnsafeMutableRawPointer) {
    target.storeBytes(of: UInt64(descriptor).littleEndian, as: UInt64.self)
    target.storeBytes(of: mark.low.littleEndian, toByteOffset: 8, as: UInt64.self)
    target.storeBytes(of: mark.high.littleEndian, toByteOffset: 16, as: UInt64.self)
    target.storeBytes(of: contentByteCount.littleEndian, toByteOffset: 24, as: UInt64.self)
    target.storeBytes(of: offset.littleEndian, toByteOffset: 32, as: UInt64.self)
  }

  /// Reads a place; nil for anything that cannot be one.
  init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.byteCount else { return nil }
    func number(_ offset: Int) -> UInt64 {
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
    guard number(0) <= UInt64(Int32.max), number(24) <= 1 << 40, number(32) <= number(24) else { return nil }
    descriptor = UInt32(number(0))
    mark = SharedMark(low: number(8), high: number(16))
    contentByteCount = number(24)
    offset = number(32)
  }

  init(descriptor: UInt32, mark: SharedMark, contentByteCount: UInt64, offset: UInt64) {
    self.descriptor = descriptor
    self.mark = mark
    self.contentByteCount = contentByteCount
    self.offset = offset
  }
}

/// 128 random bits at the start of a segment.
struct SharedMark: Hashable {
  var low = UInt64.random(in: 1 ... .max)
  var high = UInt64.random(in: 1 ... .max)
}

/// One anonymous file, mapped: a page with the mark, then the content.
///
/// `@unchecked Sendable` for the registry, which only asks where it lies.
final class SharedSegment: @unchecked Sendable {
  /// Segments that hold buffers of this process, by address.
  static let registry = Mutex<[SharedBuffer.Unowned]>([])
  static let headerByteCount = 4096

  let byteCount: Int
  let mark = SharedMark()
  /// [byteCount] bytes after the header.
  let content: UnsafeMutableRawPointer
  private let descriptor: Int32

  /// - Returns: nil when the system refuses.
  init?(byteCount: Int) {
    let whole = byteCount + Self.headerByteCount
    let descriptor = memfd_create("temper", UInt32(temper_MFD_CLOEXEC | temper_MFD_ALLOW_SEALING))
    guard descriptor >= 0 else { return nil }
    guard ftruncate(descriptor, whole) == 0, Self.seal(descriptor),
      let start = mmap(nil, whole, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), start != MAP_FAILED
    else {
      Glibc.close(descriptor)
      return nil
    }
    self.descriptor = descriptor
    self.byteCount = byteCount
    content = start + Self.headerByteCount
    Self.wantsLargePages(start, whole)
    start.storeBytes(of: mark, as: SharedMark.self)
  }

  /// Asks for pages of 2 MB, which the kernel gives to shared memory too where it is told to (shmem_enabled).
  static func wantsLargePages(_ start: UnsafeMutableRawPointer, _ byteCount: Int) {
    if byteCount >= 4 << 20 { madvise(start, byteCount, MADV_HUGEPAGE) }
  }

  private static func seal(_ descriptor: Int32) -> Bool {
    let seals = temper_F_SEAL_SHRINK | temper_F_SEAL_GROW
    return fcntl(descriptor, Int32(temper_F_ADD_SEALS), Int32(seals)) == 0
  }

  deinit {
    munmap(content - Self.headerByteCount, byteCount + Self.headerByteCount)
    Glibc.close(descriptor)
  }

  /// Where the content from `offset` on is.
  func place(_ offset: Int = 0) -> SharedPlace {
    SharedPlace(
      descriptor: UInt32(descriptor), mark: mark, contentByteCount: UInt64(byteCount), offset: UInt64(offset))
  }

  /// The place of memory that lies in a buffer of this process; nil for any other memory.
  static func place(of memory: UnsafeRawBufferPointer) -> SharedPlace? {
    guard let start = memory.baseAddress else { return nil }
    return registry.withLock { list in
      for entry in list {
        let offset = start - UnsafeRawPointer(entry.segment.content)
        if offset >= 0 && offset + memory.count <= entry.segment.byteCount { return entry.segment.place(offset) }
      }
      return nil
    }
  }
}

/// A segment of another process, mapped.
final class ForeignSegment {
  let place: SharedPlace
  let content: UnsafeRawPointer
  private let start: UnsafeMutableRawPointer
  private let byteCount: Int

  /// Maps the segment of process `process` at `place`.
  ///
  /// - Returns: nil when there is none, the process may not be read, or it is not the segment that was meant.
  init?(process: Int32, place: SharedPlace, isWritable: Bool = false) {
    let whole = Int(place.contentByteCount) + SharedSegment.headerByteCount
    let access = isWritable ? O_RDWR : O_RDONLY
    let descriptor = open("/proc/\(process)/fd/\(place.descriptor)", access | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { Glibc.close(descriptor) }
    // Sealed against shrinking: reading can never fault. Files that take no seals answer with an error.
    let seals = fcntl(descriptor, Int32(temper_F_GET_SEALS))
    var status = stat()
    guard seals >= 0, seals & Int32(temper_F_SEAL_SHRINK) != 0, fstat(descriptor, &status) == 0,
      status.st_size == whole,
      let start = mmap(nil, whole, isWritable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, descriptor, 0),
      start != MAP_FAILED
    else { return nil }
    SharedSegment.wantsLargePages(start, whole)
    guard start.load(as: SharedMark.self) == place.mark else {
      munmap(start, whole)
      return nil
    }
    self.start = start
    self.place = place
    byteCount = whole
    content = UnsafeRawPointer(start) + SharedSegment.headerByteCount
  }

  deinit { munmap(start, byteCount) }
}
