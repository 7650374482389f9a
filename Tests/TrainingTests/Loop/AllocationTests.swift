// The step loop allocates nothing after warm-up (issue 2), in either phase.

import AllocationCounter
import Data
import Testing

@testable import Training

#if DEBUG
  private let isOptimized = false
#else
  private let isOptimized = true
#endif

@Suite(.enabled(if: isOptimized, "without optimization generic iterators of the standard library allocate"))
struct AllocationTests {
  @Test("a step of the training loop allocates nothing after warm-up, in FP16 and quantized", arguments: [1, 5])
  func step(first: Int) throws {
    let plan = try JobFixture.plan()
    let state = try JobFixture.initialState(plan)
    let trainer = try Trainer(
      plan: plan, state: state, dataset: JobFixture.dataset(), ranges: [0..<8], rank: 0, threads: 1)
    let reducer = LocalReducer(plan: plan.reduction)
    // The step before `first` is the phase's first one, which builds its executor.
    for _ in 0...first { _ = try trainer.step(reducer) }
    var counts: [Int] = []
    counts.reserveCapacity(2)
    for _ in 0..<2 {
      let before = temper_thread_allocation_count()
      _ = try trainer.step(reducer)
      counts.append(temper_thread_allocation_count() - before)
    }
    try #require(temper_allocation_count() >= 0)
    #expect(counts == [0, 0])
  }

  @Test("assembling a batch allocates nothing")
  func batches() throws {
    let plan = try JobFixture.plan()
    let batches = try TrainingBatches(plan: plan, samples: JobFixture.dataset().train)
    let input = FloatVector(count: 16 * 144)
    let labels = UnsafeMutablePointer<Int32>.allocate(capacity: 16)
    defer { labels.deallocate() }
    let batch = BatchLoader.Batch(input: input.pointer, labels: labels)
    withExtendedLifetime(input) { batches.assemble(step: 2, slots: 0..<16, into: batch) }
    let before = temper_thread_allocation_count()
    withExtendedLifetime(input) { batches.assemble(step: 3, slots: 0..<16, into: batch) }
    #expect(temper_thread_allocation_count() - before == 0)
  }
}
