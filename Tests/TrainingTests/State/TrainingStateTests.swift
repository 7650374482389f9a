// The state before the first step, and what a checkpoint of it is refused for.

import Graph
import JobSpec
import Quantization
import Testing

@testable import Training

@Suite struct TrainingStateTests {
  @Test("random weights have torchvision's spread, the head torch's bound, BatchNorm is the identity")
  func initialWeights() throws {
    let plan = try JobFixture.plan()
    let weights = try JobFixture.initialState(plan).weights.values
    for entry in plan.layout.parameters {
      let values = weights[entry.range].map(Double.init)
      let deviation = (values.reduce(0) { $0 + $1 * $1 } / Double(values.count)).squareRoot()
      switch (entry.parameter.kind, entry.parameter.torchShape.count) {
      case (.weight, 4):
        // The sample deviation of n normal numbers is within 4 / sqrt(2n) of the true one, but for 1 in 16,000 draws.
        let expected = (2 / Double(entry.parameter.fanOut)).squareRoot()
        #expect(abs(deviation / expected - 1) < 4 / (2 * Double(values.count)).squareRoot())
      case (.weight, _), (.bias, _):
        #expect(values.allSatisfy { abs($0) <= 1 / 64.0.squareRoot() })
        #expect(Set(values).count == values.count)
      case (.batchNormScale, _): #expect(values.allSatisfy { $0 == 1 })
      case (.batchNormShift, _): #expect(values.allSatisfy { $0 == 0 })
      }
    }
  }

  @Test("another seed draws other weights, the same seed the same")
  func seeds() throws {
    let plan = try JobFixture.plan(JobFixture.spec { $0.seed = 2 })
    let one = try TrainingState.initial(plan: plan)
    #expect(try TrainingState.initial(plan: plan).differences(from: one) == [])
    #expect(try JobFixture.initialState(JobFixture.plan()).weights.values != one.weights.values)
  }

  @Test("a checkpoint restores everything, observers and moments included")
  func roundTrip() throws {
    let plan = try JobFixture.plan(JobFixture.spec { $0.training.optimizer.method = .adamw })
    let state = try Self.scrambled(plan)
    let (model, tensors) = state.tensors()
    let restored = TrainingState(plan: plan)
    try restored.restore(model: model, state: tensors, step: 9)
    #expect(restored.differences(from: state) == [])
    #expect(restored.observers == state.observers && restored.lossScale == state.lossScale)
    #expect(restored.committedStep == 9 && restored.skippedSteps == 2)
    #expect(model.map(\.name).contains("layer4.0.downsample.1.running_var"))
    let names = Set(tensors.map(\.name))
    #expect(names.contains("optimizer.variance.fc.bias") && names.contains("ema.conv1.weight"))
    #expect(names.contains("observer.layer1.0.conv1.input.maximum") && names.contains("lossScale.value"))
  }

  @Test("a snapshot is a copy of everything that later steps do not change")
  func snapshot() throws {
    let plan = try JobFixture.plan()
    let state = try Self.scrambled(plan)
    let copy = state.makeSnapshotBuffer(plan: plan)
    state.copySnapshot(into: copy)
    #expect(copy.differences(from: state) == [])
    state.weights.pointer[0] += 1
    #expect(copy.differences(from: state) == ["conv1.weight"])
  }

  @Test("a checkpoint of another model is refused by tensor, with both shapes")
  func wrongShape() throws {
    let wide = try JobFixture.initialState(JobFixture.plan()).tensors()
    let plan = try JobFixture.plan(JobFixture.spec { $0.model.width = 0.25 })
    let state = TrainingState(plan: plan)
    let before = state.allBytes
    let error = #expect(throws: TrainingError.self) {
      try state.restore(model: wide.model, state: wide.state, step: 0)
    }
    #expect(error?.code == .invalidState && error?.location == "conv1.weight")
    #expect(error?.message.contains("[8, 1, 3, 3]") == true && error?.message.contains("[16, 1, 3, 3]") == true)
    #expect(state.differences(from: before) == [])
  }

  @Test("a missing tensor, a superfluous one and a step that disagrees are named")
  func otherFaults() throws {
    let plan = try JobFixture.plan()
    let (model, tensors) = try JobFixture.initialState(plan).tensors()
    func refusal(_ model: [NamedTensor], _ tensors: [NamedTensor], step: Int = 0) -> TrainingError? {
      #expect(throws: TrainingError.self) {
        try TrainingState(plan: plan).restore(model: model, state: tensors, step: step)
      }
    }
    let name = "optimizer.momentum.fc.weight"
    #expect(refusal(model, tensors.filter { $0.name != name })?.location == name)
    let extra = NamedTensor(name: "optimizer.variance.fc.weight", shape: [1], floats: [0])
    #expect(refusal(model, tensors + [extra])?.location == "optimizer.variance.fc.weight")
    #expect(refusal(model, tensors, step: 3)?.location == "step.committed")
    let huge = NamedTensor(name: "step.committed", shape: [], uint64s: [1 << 60])
    #expect(refusal(model, tensors.filter { $0.name != "step.committed" } + [huge])?.location == "step.committed")
  }

  @Test("a state dict initializes the weights; a head of another size stays random and is named")
  func initialization() throws {
    let plan = try JobFixture.plan()
    var tensors = try TrainingState.initial(plan: JobFixture.plan(JobFixture.spec { $0.seed = 7 })).tensors().model
    tensors.append(NamedTensor(name: "bn1.num_batches_tracked", shape: [], int64s: [3]))
    let loaded = try TrainingState.initial(plan: plan, initialWeights: tensors)
    #expect(loaded.reinitializedTensors == [])
    #expect(loaded.tensors().model == tensors.dropLast())
    let thousand =
      tensors.filter { !$0.name.hasPrefix("fc.") } + [
        NamedTensor(name: "fc.weight", shape: [5, 64], floats: [Float](repeating: 9, count: 320)),
        NamedTensor(name: "fc.bias", shape: [5], floats: [9, 9, 9, 9, 9]),
      ]
    let transferred = try TrainingState.initial(plan: plan, initialWeights: thousand)
    #expect(transferred.reinitializedTensors == ["fc.weight", "fc.bias"])
    #expect(transferred.tensors().model.first == tensors.first)
    #expect(!transferred.weights.values.contains(9))
    let error = #expect(throws: GraphError.self) {
      try TrainingState.initial(plan: plan, initialWeights: Array(tensors.dropFirst()))
    }
    #expect(error?.location == "conv1.weight")
  }

  /// A state in which every value differs from the initial one.
  private static func scrambled(_ plan: JobPlan) throws -> TrainingState {
    let state = try JobFixture.initialState(plan)
    for (index, vector) in ([state.statistics] + state.moments).enumerated() {
      vector.copy(from: [Float](repeating: 0, count: vector.count))
      for entry in plan.layout.parameters where entry.range.upperBound <= vector.count {
        vector.pointer[entry.offset] = Float(index + 1)
      }
    }
    for entry in plan.layout.buffers { state.statistics.pointer[entry.offset] = 0.5 }
    for index in state.observers.indices {
      state.observers[index].minimum = -Float(index)
      state.observers[index].batchCount = 3
    }
    state.lossScale = LossScale(value: 512, goodSteps: 2)
    state.committedStep = 9
    state.skippedSteps = 2
    return state
  }
}
