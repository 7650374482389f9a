// The promise of design 2.2, in one process: the result does not depend on who computes which shard.
// Steps 0..<4 are FP16, 4..<12 quantized.

import Foundation
import JobSpec
import Testing

@testable import Training

@Suite struct TrainerTests {
  static let splits: [[Range<Int>]] = [
    [0..<4, 4..<8], [0..<3, 3..<8], [0..<1, 1..<5, 5..<8], [0..<2, 2..<4, 4..<6, 6..<8],
  ]

  /// Seven steps of one member, and their evaluation.
  static let alone = Result {
    try Members.train(JobFixture.spec(), ranges: [0..<8], until: 7, evaluating: true)
  }

  @Test("any split over members gives the same bits through FP16 and quantized phases", arguments: splits)
  func anySplit(_ ranges: [Range<Int>]) throws {
    let spec = JobFixture.spec()
    let alone = try Self.alone.get()
    let shared = try Members.train(spec, ranges: ranges, until: 7, evaluating: true)
    #expect(shared.state.differences(from: alone.state) == [])
    #expect(shared.reports == alone.reports)
    #expect(shared.metrics == alone.metrics)
  }

  @Test("members that share weights and moments end with the same bits, in memory of their own", arguments: splits)
  func sharing(_ ranges: [Range<Int>]) throws {
    let alone = try Self.alone.get()
    let shared = try Members.train(JobFixture.spec(), ranges: ranges, until: 7, evaluating: true, sharing: true)
    #expect(shared.state.differences(from: alone.state) == [])
    #expect(shared.reports == alone.reports && shared.metrics == alone.metrics)
  }

  @Test("AdamW, moving averages and skipped steps are the same where members share weights and moments")
  func sharingElse() throws {
    let spec = JobFixture.spec {
      $0.training.optimizer.method = .adamw
      $0.training.ema.decay = 0.9
      $0.training.lossScale.initial = 0x1p24
    }
    let alone = try Members.train(spec, ranges: [0..<8], until: 6)
    let shared = try Members.train(spec, ranges: [0..<3, 3..<8], until: 6, sharing: true)
    #expect(alone.state.skippedSteps > 0)
    #expect(shared.state.differences(from: alone.state) == [])
  }

  @Test("one scale per tensor, and float products of quantized weights, are the same where members share weights")
  func sharingPerTensor() throws {
    let spec = JobFixture.spec { $0.quantization.weights.granularity = .perTensor }
    let alone = try Members.train(spec, ranges: [0..<8], until: 7)
    let shared = try Members.train(spec, ranges: [0..<1, 1..<5, 5..<8], until: 7, sharing: true)
    #expect(shared.state.differences(from: alone.state) == [])
  }

  @Test("who shares its state keeps it when a step fails, whatever the others have written by then")
  func lostWhileSharing() throws {
    let spec = JobFixture.spec()
    let plan = try JobFixture.plan(spec)
    let state = try JobFixture.initialState(plan)
    let trainer = try Trainer(
      plan: plan, state: state, dataset: JobFixture.dataset(), ranges: [0..<8], rank: 0, threads: 1)
    let hub = InProcessHub(plan: plan.reduction, shardCount: 8, worldSize: 1, failingStep: 3)
    let reducer = InProcessReducer(hub: hub, rank: 0, plan: plan.reduction, shards: 0..<8)
    Members.share([state], hub)
    for _ in 0..<3 { _ = try trainer.step(reducer) }
    let before = state.allBytes
    #expect(throws: InProcessHub.Lost.self) { try trainer.step(reducer) }
    for vector in try #require(state.nextVectors).all { vector.pointer.update(repeating: .nan, count: vector.count) }
    #expect(state.differences(from: before) == [])
    state.unshare()
    #expect(state.nextVectors == nil && state.differences(from: before) == [])
    let again = LocalReducer(plan: plan.reduction)
    for _ in 3..<6 { _ = try trainer.step(again) }
    let undisturbed = try Members.train(spec, ranges: [0..<8], until: 6)
    #expect(state.differences(from: undisturbed.state) == [])
  }

  @Test("a member that is lost while weights are loaded ends the step before it is reduced")
  func lostWhileLoading() throws {
    struct Lost: Error {}
    let plan = try JobFixture.plan(JobFixture.spec())
    for failing in [1, 2] {
      let state = try JobFixture.initialState(plan)
      let hub = InProcessHub(plan: plan.reduction, shardCount: 8, worldSize: 1)
      let reducer = InProcessReducer(hub: hub, rank: 0, plan: plan.reduction, shards: 0..<8)
      func trainer() throws -> Trainer {
        try Trainer(
          plan: plan, state: state, dataset: JobFixture.dataset(), ranges: [0..<8], rank: 0, threads: 1)
      }
      let alone = try trainer()
      for _ in 0..<5 { _ = try alone.step(reducer) }
      let before = state.allBytes
      var meetings = 0
      func meet() throws {
        meetings += 1
        if meetings == failing { throw Lost() }
      }
      Members.share([state]) { LoadSharing(rank: $0, worldSize: 1, memory: { FloatVector(count: $0) }, meet: meet) }
      let sharing = try trainer()
      #expect(throws: Lost.self) { try sharing.step(reducer) }
      #expect(meetings == failing && hub.latestStep == 4)
      #expect(state.differences(from: before) == [])
    }
  }

  @Test("a member's computing time, by which shards are dealt out, is without waiting for others")
  func computingTime() throws {
    let plan = try JobFixture.plan(JobFixture.spec())
    let state = try JobFixture.initialState(plan)
    let trainer = try Trainer(
      plan: plan, state: state, dataset: JobFixture.dataset(), ranges: [0..<8], rank: 0, threads: 1)
    Members.share([state]) {
      LoadSharing(
        rank: $0, worldSize: 1, memory: { FloatVector(count: $0) }, meet: { Thread.sleep(forTimeInterval: 0.2) })
    }
    let start = ContinuousClock.now
    _ = try trainer.step(LocalReducer(plan: plan.reduction))
    #expect(ContinuousClock.now - start - trainer.lastComputeTime >= .milliseconds(200))
    #expect(trainer.lastComputeTime > .zero)
  }

  @Test("two threads give the same bits as one")
  func threads() throws {
    let spec = JobFixture.spec()
    let one = try Members.train(spec, ranges: [0..<8], until: 6)
    let two = try Members.train(spec, ranges: [0..<8], until: 6, threads: 2)
    #expect(one.state.differences(from: two.state) == [])
  }

  @Test("six steps equal three, a checkpoint, and three more, across the change of phase")
  func resume() throws {
    let spec = JobFixture.spec { $0.training.optimizer.method = .adamw }
    let plan = try JobFixture.plan(spec)
    for pause in [3, 4, 5] {
      let straight = try Members.train(spec, ranges: [0..<8], until: 6)
      let before = try Members.train(spec, ranges: [0..<8], until: pause)
      let (model, state) = before.state.tensors()
      let restored = try JobFixture.initialState(plan)
      try restored.restore(model: model, state: state, step: pause)
      let after = try Members.train(spec, ranges: [0..<3, 3..<8], until: 6, from: restored)
      #expect(after.state.differences(from: straight.state) == [], "paused at step \(pause)")
    }
  }

  @Test("a reduction that fails leaves the state as it was, and the step can be made again")
  func lostMember() throws {
    let spec = JobFixture.spec()
    let plan = try JobFixture.plan(spec)
    for failing in [2, 4] {
      let state = try JobFixture.initialState(plan)
      let trainer = try Trainer(
        plan: plan, state: state, dataset: JobFixture.dataset(), ranges: [0..<8], rank: 0, threads: 1)
      let hub = InProcessHub(plan: plan.reduction, shardCount: 8, worldSize: 1, failingStep: UInt64(failing))
      let reducer = InProcessReducer(hub: hub, rank: 0, plan: plan.reduction, shards: 0..<8)
      for _ in 0..<failing { _ = try trainer.step(reducer) }
      let before = state.allBytes
      #expect(throws: InProcessHub.Lost.self) { try trainer.step(reducer) }
      #expect(state.differences(from: before) == [])
      let again = LocalReducer(plan: plan.reduction)
      for _ in failing..<6 { _ = try trainer.step(again) }
      let undisturbed = try Members.train(spec, ranges: [0..<8], until: 6)
      #expect(state.differences(from: undisturbed.state) == [], "lost at step \(failing)")
    }
  }

  @Test("an FP16 step whose gradient overflows is skipped, halves the scale and changes no weight")
  func overflow() throws {
    let spec = JobFixture.spec { $0.training.lossScale.initial = 0x1p24 }
    let start = try JobFixture.initialState(JobFixture.plan(spec))
    let after = try Members.train(spec, ranges: [0..<4, 4..<8], until: 1)
    #expect(after.reports[0].isSkipped)
    #expect(after.state.lossScale == LossScale(value: 0x1p23, goodSteps: 0))
    #expect(after.state.committedStep == 1 && after.state.skippedSteps == 1)
    #expect(after.state.weights.values == start.weights.values)
    #expect(after.state.statistics.values == start.statistics.values)
  }

  @Test("a gradient that is not finite in FP32 says at which step training diverged")
  func divergence() throws {
    let spec = JobFixture.spec {
      $0.training.precision = .fp32
      $0.training.optimizer.learningRate = 1e30
    }
    let error = #expect(throws: TrainingError.self) { try Members.train(spec, ranges: [0..<8], until: 4) }
    #expect(error?.code == .diverged)
    #expect(error?.description.hasPrefix("step ") == true)
  }

  @Test("frozen observers and BatchNorm statistics keep their values while weights go on")
  func freezing() throws {
    let spec = JobFixture.spec {
      $0.quantization.freezeObserversEpoch = 3
      $0.quantization.freezeBatchNormEpoch = 3
    }
    let before = try Members.train(spec, ranges: [0..<8], until: 8)
    let after = try Members.train(spec, ranges: [0..<8], until: 10)
    #expect(after.state.observers == before.state.observers)
    #expect(after.state.statistics.values == before.state.statistics.values)
    #expect(after.state.weights.values != before.state.weights.values)
    let free = try Members.train(JobFixture.spec(), ranges: [0..<8], until: 10)
    #expect(free.state.observers != before.state.observers)
    #expect(free.state.statistics.values != before.state.statistics.values)
  }

  @Test("training lowers the loss and tells when an epoch ends")
  func learning() throws {
    let outcome = try Members.train(JobFixture.spec { $0.training.epochs = 6 }, ranges: [0..<8], until: 24)
    #expect(outcome.reports.map(\.endsEpoch) == (1...24).map { $0.isMultiple(of: 4) })
    #expect(outcome.reports[23].loss < 0.6 * outcome.reports[0].loss)
    #expect(outcome.reports.prefix(4).allSatisfy { $0.precision == .fp16 })
    #expect(outcome.reports.dropFirst(4).allSatisfy { $0.precision == .quantized })
  }
}
