// Assembles the batch of the next step on a thread of its own while the current one is computed.
//
// Two buffers: the step in progress reads one, the thread fills the other. A batch is a function of (seed, step) alone, so it
// does not matter which thread makes it, or whether it was made ahead.

import Data
import Dispatch
import Foundation
import Graph

/// Normalized samples and labels of one member's shards for any global step.
final class BatchLoader {
  /// One assembled batch.
  struct Batch {
    /// [samples, H, W, C].
    let input: UnsafeMutablePointer<Float>
    /// [samples].
    let labels: UnsafeMutablePointer<Int32>
  }

  private let worker: BatchWorker
  private var current = 0
  /// The step that the thread is filling the other buffer for.
  private var pendingStep: Int?

  /// Starts the thread.
  ///
  /// - Parameters:
  ///   - plan: the job.
  ///   - samples: the training split.
  ///   - slots: this member's places in the global batch.
  /// - Throws: `DataError.unsuitable` when sampling, normalization or augmentation do not fit the data.
  init(plan: JobPlan, samples: SampleSet, slots: Range<Int>) throws {
    worker = try BatchWorker(plan: plan, samples: samples, slots: slots)
    let worker = worker
    let thread = Thread { worker.serve() }
    thread.name = "temper-batches"
    thread.start()
  }

  deinit {
    finishPending()
    worker.request(step: nil, buffer: 0)
  }

  /// The batch of a global step; valid until the next call.
  ///
  /// Begins to assemble the batch of the step after it, unless the job ends there.
  func batch(ofStep step: Int, prefetching next: Int?) -> Batch {
    if pendingStep != step {
      finishPending()
      worker.request(step: step, buffer: 1 - current)
    }
    worker.finished.wait()
    current = 1 - current
    pendingStep = next
    if let next { worker.request(step: next, buffer: 1 - current) }
    return worker.batches[current]
  }

  private func finishPending() {
    if pendingStep != nil { worker.finished.wait() }
    pendingStep = nil
  }
}

/// What the loader and its thread share.
///
/// `@unchecked Sendable` because the request is written before `requested` is signalled and read after it, and a buffer is
/// touched by the thread only between `requested` and `finished`.
private final class BatchWorker: @unchecked Sendable {
  let batches: [BatchLoader.Batch]
  let finished = DispatchSemaphore(value: 0)
  private let requested = DispatchSemaphore(value: 0)
  private var step: Int?
  private var buffer = 0
  private let storage: [(input: FloatVector, labels: UnsafeMutablePointer<Int32>)]
  private let assembler: TrainingBatches
  private let slots: Range<Int>

  init(plan: JobPlan, samples: SampleSet, slots: Range<Int>) throws {
    self.slots = slots
    assembler = try TrainingBatches(plan: plan, samples: samples)
    storage = (0..<2).map { _ in
      let labels = UnsafeMutablePointer<Int32>.allocate(capacity: slots.count)
      labels.initialize(repeating: 0, count: slots.count)
      return (FloatVector(count: slots.count * plan.data.sample.elementCount), labels)
    }
    batches = storage.map { BatchLoader.Batch(input: $0.input.pointer, labels: $0.labels) }
  }

  deinit { for buffer in storage { buffer.labels.deallocate() } }

  /// Asks for a step's batch; `nil` ends the thread.
  func request(step: Int?, buffer: Int) {
    self.step = step
    self.buffer = buffer
    requested.signal()
  }

  /// The loop of the thread.
  func serve() {
    while true {
      requested.wait()
      guard let step else { return }
      assembler.assemble(step: step, slots: slots, into: batches[buffer])
      finished.signal()
    }
  }
}
