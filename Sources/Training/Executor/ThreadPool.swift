// A fork-join pool for kernels: N threads run the parts of one task and join. No queue, no allocation per run.
// Kernels cut their work at places that do not depend on the number of parts, so the pool's size never changes a result.
// Waiting is a short spin (the next task of a step comes within microseconds), then a condition variable, so that an idle
// worker costs nothing.

import Synchronization

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

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
    for part in 1..<threadCount {
      let start = Unmanaged.passRetained(PoolStart(state: state, part: part))
      #if canImport(Glibc)
        var thread = pthread_t()
      #else
        var thread: pthread_t?
      #endif
      let code = pthread_create(&thread, nil, poolThread, start.toOpaque())
      precondition(code == 0, "pthread_create failed with \(code) for thread \(part) of \(threadCount)")
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

  /// Calls `task(part, threadCount)` once for every part, each on its own thread, and returns when all are done.
  ///
  /// - Parameter task: keep it and pass the same closure again, or let it capture nothing: a new closure context is an
  ///   allocation.
  public func run(_ task: @escaping (_ part: Int, _ parts: Int) -> Void) {
    guard threadCount > 1 else { return task(0, 1) }
    state.post(task)
    task(0, threadCount)
    state.join()
  }
}

/// What a pool's threads share.
///
/// `@unchecked Sendable` because `task` is written only while every other thread waits for the next generation, and is read
/// only after the generation that published it.
private final class PoolState: @unchecked Sendable {
  let threadCount: Int
  private var task: ((Int, Int) -> Void)?
  private let generation = Atomic<Int>(0)
  private let unfinished = Atomic<Int>(0)
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  /// About 20 microseconds; longer would take a core from a neighbor, shorter would sleep between two kernels.
  private static let spinCount = 4096

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
  func post(_ task: ((Int, Int) -> Void)?) {
    self.task = task
    unfinished.store(threadCount - 1, ordering: .relaxed)
    pthread_mutex_lock(mutex)
    generation.add(1, ordering: .releasing)
    pthread_cond_broadcast(changed)
    pthread_mutex_unlock(mutex)
  }

  /// Waits until every other thread has finished the task.
  func join() {
    wait { unfinished.load(ordering: .acquiring) == 0 }
    task = nil
  }

  /// The loop of a thread.
  func serve(part: Int) {
    var seen = 0
    while true {
      wait { generation.load(ordering: .acquiring) != seen }
      seen += 1
      guard let task else { return }
      task(part, threadCount)
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
  let part: Int
  init(state: PoolState, part: Int) {
    self.state = state
    self.part = part
  }
}

#if canImport(Glibc)
  private func poolThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? { servePool(argument!) }
#else
  private func poolThread(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? { servePool(argument) }
#endif

private func servePool(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
  let start = Unmanaged<PoolStart>.fromOpaque(argument).takeRetainedValue()
  start.state.serve(part: start.part)
  return nil
}
