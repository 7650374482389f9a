// A thread that owns sockets, and the pipe by which other threads wake it from poll.
// Never a Task: executors move a task between threads, and a ZeroMQ socket belongs to one.

import CZeroMQ
import Foundation
import Synchronization

/// Wakes a thread that waits in poll; many wakes before it looks cost one byte.
final class WakePipe: Sendable {
  let readDescriptor: Int32
  private let writeDescriptor: Int32
  private let isPending = Atomic<Bool>(false)

  init() throws {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else {
      throw CommunicationError(
        .system, "pipe: \(String(cString: strerror(errno)))", hint: "raise the limit of open files (ulimit -n)")
    }
    for end in ends {
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
    }
    readDescriptor = ends[0]
    writeDescriptor = ends[1]
  }

  deinit {
    close(readDescriptor)
    close(writeDescriptor)
  }

  /// Wakes the reader; from any thread, never waits.
  func wake() {
    guard !isPending.exchange(true, ordering: .acquiringAndReleasing) else { return }
    var byte: UInt8 = 1
    _ = write(writeDescriptor, &byte, 1)
  }

  /// Takes the wake-up back; the reader calls it before it looks at what it was woken for.
  func drain() {
    var bytes: (UInt64, UInt64) = (0, 0)
    while read(readDescriptor, &bytes, 16) > 0 {}
    isPending.store(false, ordering: .sequentiallyConsistent)
  }
}

/// A named thread that runs one function until it returns; others can wait for that.
final class OwnerThread: Sendable {
  private let finished = DispatchSemaphore(value: 0)
  private let identifier = Mutex<UInt>(0)

  /// Starts the thread; `body` runs on it once.
  func start(name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread { [self] in
      identifier.withLock { $0 = UInt(pthread_self()) }
      body()
      identifier.withLock { $0 = 0 }
      finished.signal()
    }
    thread.name = name
    thread.stackSize = 1 << 20
    thread.start()
  }

  /// Whether the caller runs on this thread.
  var isCurrent: Bool { identifier.withLock { $0 } == UInt(pthread_self()) }

  /// Waits until the body has returned; not to be called on the thread itself.
  func join() {
    finished.wait()
    finished.signal()  // further callers pass as well
  }
}

/// zmq_poll over sockets and one wake-up pipe; the array is kept between calls.
struct PollSet {
  private var items: [zmq_pollitem_t] = []

  /// Begins a new set with the wake-up pipe at index 0.
  mutating func reset(wake: WakePipe) {
    items.removeAll(keepingCapacity: true)
    items.append(zmq_pollitem_t(socket: nil, fd: wake.readDescriptor, events: Int16(ZMQ_POLLIN), revents: 0))
  }

  /// Adds a socket to wait for input on, and for room to send if asked.
  mutating func add(_ socket: Socket, output: Bool = false) {
    let events = Int16(ZMQ_POLLIN | (output ? ZMQ_POLLOUT : 0))
    items.append(zmq_pollitem_t(socket: socket.raw, fd: 0, events: events, revents: 0))
  }

  /// Waits until something is ready or the time is over; nil waits for ever.
  ///
  /// What is ready is found by trying.
  mutating func wait(_ timeout: Duration?) {
    let milliseconds = timeout.map { max(0, Int($0.wholeMilliseconds) + 1) } ?? -1
    _ = zmq_poll(&items, Int32(items.count), milliseconds)
  }

  /// Whether the item at an index can send.
  func canSend(_ index: Int) -> Bool { Int32(items[index].revents) & ZMQ_POLLOUT != 0 }
}
