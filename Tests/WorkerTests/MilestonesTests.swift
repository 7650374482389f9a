// What is due after which step.
import JobSpec
import Testing

@testable import Worker

@Suite("Milestones")
struct MilestonesTests {
  private func milestones(
    checkpointEpochs: Int = 1, checkpointSteps: Int = 0, evaluationEpochs: Int = 1
  ) -> Milestones {
    var spec = JobSpec(name: "test")
    spec.training.epochs = 5
    spec.checkpoint.everyEpochs = checkpointEpochs
    spec.checkpoint.everySteps = checkpointSteps
    spec.evaluation.everyEpochs = evaluationEpochs
    return Milestones(spec, stepsPerEpoch: 10)
  }

  private func steps(_ isDue: (Int) -> Bool) -> [Int] { (0...50).filter(isDue) }

  @Test("put a checkpoint at the end of every n-th epoch, every n-th step, and always at the end")
  func checkpoints() {
    #expect(steps { milestones().wantsCheckpoint(at: $0) } == [10, 20, 30, 40, 50])
    #expect(steps { milestones(checkpointEpochs: 2).wantsCheckpoint(at: $0) } == [20, 40, 50])
    #expect(steps { milestones(checkpointEpochs: 0).wantsCheckpoint(at: $0) } == [50])
    let often = milestones(checkpointEpochs: 3, checkpointSteps: 15)
    #expect(steps { often.wantsCheckpoint(at: $0) } == [15, 30, 45, 50])
  }

  @Test("put an evaluation at the end of every n-th epoch and always at the last")
  func evaluations() {
    #expect(steps { milestones().evaluation(at: $0) != nil } == [10, 20, 30, 40, 50])
    #expect(steps { milestones(evaluationEpochs: 2).evaluation(at: $0) != nil } == [20, 40, 50])
    #expect((0...50).compactMap { milestones(evaluationEpochs: 2).evaluation(at: $0) } == [2, 4, 5])
  }
}

@Suite("The clock of epochs")
struct EpochClockTests {
  @Test("lets the steps seen of an epoch stand for those that were not")
  func extrapolation() {
    var clock = EpochClock()
    for _ in 0..<4 { clock.note(epoch: 2, .milliseconds(50)) }
    #expect(clock.seconds(ofEpoch: 2, steps: 4) == 0.2)
    #expect(clock.seconds(ofEpoch: 2, steps: 8) == 0.4)
    #expect(clock.seconds(ofEpoch: 1, steps: 8) == 0)
  }
}
