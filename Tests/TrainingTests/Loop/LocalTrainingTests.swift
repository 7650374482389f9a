// A whole job in one process, and the promise that its step loop allocates nothing.

import Graph
import JobSpec
import Testing

@testable import Training

@Suite(.serialized) struct LocalTrainingTests {
  @Test("a job reports every step and evaluates after its epochs and at its end")
  func fit() throws {
    let spec = JobFixture.spec { $0.evaluation.everyEpochs = 2 }
    var steps: [Int] = []
    var epochs: [Int] = []
    let outcome = try LocalTraining.fit(spec: spec, dataset: JobFixture.dataset(), threads: 1) { progress in
      switch progress {
      case .step(let report): steps.append(report.step)
      case .epoch(let metrics): epochs.append(metrics.epoch)
      }
    }
    #expect(steps == Array(1...12) && epochs == [2, 3])
    #expect(outcome.metrics.step == 12 && outcome.metrics.int8 != nil)
  }

  @Test("data of another shape than the plan's is refused")
  func otherData() throws {
    let plan = try JobPlan(
      spec: JobFixture.spec(),
      data: JobPlan.DataShape(
        sample: .init(height: 16, width: 12, channels: 1), classNames: JobFixture.classNames, trainCount: 64,
        testCount: 24))
    let error = #expect(throws: TrainingError.self) {
      try Trainer(
        plan: plan, state: TrainingState(plan: plan), dataset: JobFixture.dataset(), ranges: [0..<8], rank: 0,
        threads: 1)
    }
    #expect(error?.code == .invalidData)
  }
}
