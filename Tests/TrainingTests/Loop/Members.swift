// Runs the members of a generation on threads of this process.

import Data
import Foundation
import Graph
import JobSpec
import Synchronization
import Testing

@testable import Training

/// A generation whose members are threads.
enum Members {
  /// What a member ends with.
  struct Outcome: Sendable {
    let state: TrainingState
    let reports: [StepReport]
    let metrics: EpochMetrics?
  }

  /// Trains until a global step with given shard ranges; every member must end with the same bits.
  ///
  /// - Returns: the first member's outcome.
  static func train(
    _ spec: JobSpec, ranges: [Range<Int>], until end: Int, from start: TrainingState? = nil, threads: Int = 1,
    evaluating: Bool = false, sharing: Bool = false
  ) throws -> Outcome {
    let plan = try JobFixture.plan(spec)
    let states = try ranges.map { _ in
      let state = try JobFixture.initialState(plan)
      start?.copySnapshot(into: state)
      return state
    }
    let dataset = JobFixture.dataset()
    let hub = InProcessHub(
      plan: plan.reduction, shardCount: spec.training.virtualShards, worldSize: ranges.count)
    if sharing { share(states, hub) }
    let outcomes = Mutex<[Int: Result<Outcome, any Error>]>([:])
    let group = DispatchGroup()
    for rank in ranges.indices {
      let state = states[rank]
      group.enter()
      Thread {
        let outcome = Result {
          try member(plan, state, dataset, hub, ranges, rank, end: end, threads: threads, evaluating: evaluating)
        }
        outcomes.withLock { $0[rank] = outcome }
        group.leave()
      }.start()
    }
    group.wait()
    for state in states { state.unshare() }
    if sharing { #expect(hub.meetings > 0) }
    let results = try outcomes.withLock { outcomes in try ranges.indices.map { try #require(outcomes[$0]).get() } }
    for result in results {
      #expect(result.state.differences(from: results[0].state) == [])
      #expect(result.reports == results[0].reports && result.metrics == results[0].metrics)
    }
    return results[0]
  }

  /// Moves equal states to one memory, as `SharedState` does across processes.
  static func share(_ states: [TrainingState], _ hub: InProcessHub) { share(states) { hub.loadSharing(rank: $0) } }

  static func share(_ states: [TrainingState], loading: (_ rank: Int) -> LoadSharing) {
    let memory = FloatVector(count: states[0].sharedCount, repeating: .nan)
    for (rank, state) in states.enumerated() { state.fill(memory.pointer, part: rank, of: states.count) }
    for (rank, state) in states.enumerated() {
      state.share(memory.pointer, owner: memory, loading: loading(rank))
    }
  }

  private static func member(
    _ plan: JobPlan, _ state: TrainingState, _ dataset: InMemoryDataset, _ hub: InProcessHub, _ ranges: [Range<Int>],
    _ rank: Int, end: Int, threads: Int, evaluating: Bool
  ) throws -> Outcome {
    let trainer = try Trainer(
      plan: plan, state: state, dataset: dataset, ranges: ranges, rank: rank, threads: threads)
    let reducer = InProcessReducer(hub: hub, rank: rank, plan: plan.reduction, shards: ranges[rank])
    var reports: [StepReport] = []
    while state.committedStep < end { reports.append(try trainer.step(reducer)) }
    return Outcome(state: state, reports: reports, metrics: evaluating ? try trainer.evaluate(reducer) : nil)
  }
}

extension TrainingState {
  /// Everything a checkpoint holds as bytes by name, for comparisons bit by bit.
  var allBytes: [String: [UInt8]] {
    let (model, state) = tensors()
    return Dictionary((model + state).map { ($0.name, $0.bytes) }, uniquingKeysWith: { first, _ in first })
  }

  /// Names of the tensors in which two states differ.
  func differences(from other: TrainingState) -> [String] { differences(from: other.allBytes) }

  /// Names of the tensors in which a state differs from an earlier `allBytes`.
  func differences(from bytes: [String: [UInt8]]) -> [String] {
    let own = allBytes
    return Set(own.keys).union(bytes.keys).filter { own[$0] != bytes[$0] }.sorted()
  }
}
