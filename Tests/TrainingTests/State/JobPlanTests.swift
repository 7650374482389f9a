// Phases of steps, and jobs that do not fit their data.

import Graph
import JobSpec
import Testing

@testable import Training

@Suite struct JobPlanTests {
  @Test("epochs of four steps: FP16 first, then quantized, calibrated before its first step")
  func phases() throws {
    let plan = try JobFixture.plan(
      JobFixture.spec {
        $0.quantization.freezeObserversEpoch = 3
        $0.quantization.freezeBatchNormEpoch = 1
      })
    #expect(plan.stepsPerEpoch == 4 && plan.totalSteps == 12)
    let phases = (0..<12).map(plan.phase(atStep:))
    #expect(phases.map(\.epoch) == (0..<12).map { $0 / 4 + 1 })
    #expect(phases.map(\.stepInEpoch) == (0..<12).map { $0 % 4 })
    #expect(phases.map(\.precision) == (0..<12).map { $0 < 4 ? .fp16 : .quantized })
    #expect(phases.map(\.calibratesFirst) == (0..<12).map { $0 == 4 })
    #expect(phases.map(\.observersAreFrozen) == (0..<12).map { $0 >= 8 })
    // Freezing belongs to the quantized phase: nothing freezes before it.
    #expect(phases.map(\.batchNormIsFrozen) == (0..<12).map { $0 >= 4 })
  }

  @Test("a job without quantization has no quantized graph, but the placement that post-training quantization fills")
  func float() throws {
    let plan = try JobFixture.plan(
      JobFixture.spec {
        $0.quantization.enabled = false
        $0.training.precision = .fp32
      })
    #expect(plan.quantizedGraph == nil && plan.reduction.maximumCount == 0)
    #expect(!plan.placedGraph.fakeQuantizeNodes.isEmpty)
    #expect((0..<12).allSatisfy { plan.phase(atStep: $0).precision == .fp32 })
  }

  @Test("calibration takes the coming batches and stays within the epoch")
  func calibration() throws {
    let plan = try JobFixture.plan()
    #expect((0..<6).map { plan.calibrationStep($0, from: 6) } == [6, 7, 4, 5, 6, 7])
  }

  @Test("a batch larger than the data and a rare class that does not exist are refused by key")
  func refusals() throws {
    let large = #expect(throws: TrainingError.self) {
      try JobFixture.plan(JobFixture.spec { $0.training.batchSize = 128 })
    }
    #expect(large?.location == "training.batchSize" && large?.message.contains("64 samples") == true)
    let rare = #expect(throws: TrainingError.self) {
      try JobFixture.plan(JobFixture.spec { $0.data.rareClasses = ["sport"] })
    }
    #expect(rare?.location == "data.rareClasses" && rare?.hint?.contains("spot") == true)
  }
}
