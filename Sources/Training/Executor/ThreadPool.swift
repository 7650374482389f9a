// A fork-join pool for kernels: N threads run the parts of one task and join. No queue, no allocation per run.
// A task may have more parts than threads; a thread takes the next part when it has finished one, so that a core which the
// machine has lent elsewhere for a moment holds nobody up for long.
// Kernels cut their work at places that do not depend on the number of parts, so neither the pool's size nor who takes which
// part changes a result.
// Waiting is a short spin (the next task of a step comes within microseconds), then a condition variable, so that an idle
// worker costs nothing.

import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// One part of a task.
public struct TaskShare: Sendable {
  /// Which part of the work.
  public let part: Int
  /// Into how many parts the work is cut.
  public let parts: Int
  /// The thread that does it.
  public let thread: Int

  /// All of it, on the caller.
  static let whole = TaskShare(part: 0, parts: 1, thread: 0)
}

/// Runs a task on a fixed number of threads; the caller is thread 0.
///
/// `run` is called from one thread at a time and is not reentrant.
public final class ThreadPool {
  /// Threads that run a task, the caller included.
  public let threadCount: Int
  private let state: PoolState
  private var threads: [pthread_t] = []

  /// Starts `threadCount - 1` threads; with 1, `run` is a direct call.
  public init(threadCount: Int) {
    precondition((1...1024).contains(threadCount), "a pool of \(threadCount) threads")
    self.threadCount = threadCount
    state = PoolState(threadCount: threadCount)
    for index in 1..<threadCount {
      let start = Unmanaged.passRetained(PoolStart(state: state, thread: index))
      #if canImport(Glibc)
        var thread = pthread_t()
      #else
        var thread: pthread_t?
      #endif
      let code = pthread_create(&thread, nil, poolThread, start.toOpaque())
      precondition(code == 0, "pthread_create failed with \(code) for thread \(index) of \(threadCount)")
      #if canImport(Glibc)
        threads.append(thread)
      #else
        threads.append(thread!)
      #endif
    }
  }

  deinit {
    state.post(nil)
    for thread in threads { pthread_join(thread, nil) }
  }

  /// Calls `task` once for every part, on any of the threads, and returns when all are done.
  ///
  /// - Parameters:
  ///   - parts: into how many parts the work is cut, at least 1.
  ///   - task: keep it and pass the same closure again, or let it capture nothing: a new closure context is an allocation.
  public func run(parts: Int, _ task: @escaping (TaskShare) -> Void) {
    guard threadCount > 1, parts > 1 else {
      for part in 0..<parts { task(TaskShare(part: part, parts: parts, thread: 0)) }
      return
    }
    state.post(task, parts: parts)
    state.work(task, thread: 0)
    state.join()
  }
}

/// What a pool's threads share.
///
/// `@unchecked Sendable` because `task` and `parts` are written only while every other thread waits for the next generation,
/// and are read only after the generation that published them.
private final class PoolState: @unchecked Sendable {
  let threadCount: Int
  private var task: ((TaskShare) -> Void)?
  private var parts = 0
  private let nextPart = Atomic<Int>(0)
  private let generation = Atomic<Int>(0)
  private let unfinished = Atomic<Int>(0)
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  /// About 50 microseconds, what sleeping and being woken costs on a virtual machine; longer would take a core from a
  /// neighbor, shorter would sleep between two kernels.
  private static let spinCount = 40_000

  init(threadCount: Int) {
    self.threadCount = threadCount
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(changed, nil)
  }

  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(mutex)
    changed.deallocate()
    mutex.deallocate()
  }

  /// Publishes a task, or the end of the pool.
  func post(_ task: ((TaskShare) -> Void)?, parts: Int = 0) {
    self.task = task
    self.parts = parts
    nextPart.store(0, ordering: .relaxed)
    unfinished.store(threadCount - 1, ordering: .relaxed)
    pthread_mutex_lock(mutex)
    generation.add(1, ordering: .releasing)
    pthread_cond_broadcast(changed)
    pthread_mutex_unlock(mutex)
  }

  /// Takes parts until none is left.
  func work(_ task: (TaskShare) -> Void, thread: Int) {
    while true {
      let part = nextPart.add(1, ordering: .relaxed).oldValue
      guard part < parts else { return }
      task(TaskShare(part: part, parts: parts, thread: thread))
    }
  }

  /// Waits until every other thread has finished the task.
  func join() {
    wait { unfinished.load(ordering: .acquiring) == 0 }
    task = nil
  }

  /// The loop of a thread.
  func serve(thread: Int) {
    var seen = 0
    while true {
      wait { generation.load(ordering: .acquiring) != seen }
      seen += 1
      guard let task else { return }
      work(task, thread: thread)
      if unfinished.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
      }
    }
  }

  private func wait(until condition: () -> Bool) {
    for _ in 0..<Self.spinCount where condition() { return }
    pthread_mutex_lock(mutex)
    while !condition() { pthread_cond_wait(changed, mutex) }
    pthread_mutex_unlock(mutex)
  }
}

/// What a new thread is told.
private final class PoolStart {
  let state: PoolState
  let thread: Int
  init(state: PoolState, thread: Int) {
    self.state = state
    self.thread = thread
  }
}

#if canImport(Glibc)
  private func poolThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? { servePool(argument!) }
#else
  private func poolThread(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? { servePool(argument) }
#endif

private func servePool(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
  let start = Unmanaged<PoolStart>.fromOpaque(argument).takeRetainedValue()
  start.state.serve(thread: start.thread)
  return nil
}
