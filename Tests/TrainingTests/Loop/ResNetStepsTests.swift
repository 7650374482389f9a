// A whole ResNet-18, five SGD steps, against PyTorch: forward, backward, BatchNorm per shard, update, running statistics.

import Graph
import JobSpec
import Testing

@testable import Training

@Suite struct ResNetStepsTests {
  struct Golden: Decodable {
    let names: [String]
    let losses: [Double]
    let lossesNoise: Double
    let gradientNorms: [Double]
    let gradientNormsNoise: Double
    let parameters: [[Double]]
    let parametersNoise: Double
    let buffers: [[Double]]
    let buffersNoise: Double
  }

  @Test("five optimizer steps of ResNet-18 in FP32 agree with PyTorch")
  func fiveSteps() throws {
    let golden = try LoopGolden.decode("resnet_steps", as: Golden.self)
    let plan = try Self.plan()
    let state = try TrainingState.initial(plan: plan)
    state.weights.copy(from: Self.initialWeights(plan.layout, names: golden.names))
    let pool = ThreadPool(threadCount: 1)
    let assignment = ShardAssignment(shards: 0..<4, shardCount: 4, samplesPerShard: 4)
    let executor = try TrainingExecutor(
      graph: plan.floatGraph, layout: plan.layout, reduction: plan.reduction, assignment: assignment,
      precision: .fp32, pool: pool)
    let buffers = StepBuffers(plan: plan, pieceCount: 1) { FloatVector(count: $0) }
    let reducer = LocalReducer(plan: plan.reduction)
    let update = StateUpdate(plan: plan, pool: pool)
    for step in 0..<5 {
      let input = LoopGolden.uniform(5000 + step, count: 16 * 16 * 16 * 3)
      for (index, value) in input.enumerated() { executor.input[index] = Float(value) }
      for index in 0..<16 { executor.labels[index] = Int32(index * 7 % 5) }
      try executor.loadWeights(flat: state.weights.pointer)
      reducer.begin(
        step: UInt64(step), pieces: buffers.pieces, result: buffers.sum.pointer, maxima: buffers.maxima.pointer,
        finishing: update.begin(buffers, state: state, lossScale: 1))
      executor.forward(labelSmoothing: 0.1, pieces: buffers.pieces, maxima: nil)
      executor.backward(lossScale: 1, pieces: buffers.pieces) { reducer.submit(bucket: $0) }
      let isFinite = reducer.wait()
      if step == 0 { expectGradients(buffers.sum, plan, golden) }
      let report = try update.commit(gradientIsFinite: isFinite, phase: plan.phase(atStep: step), lossScale: 1)
      // Four times PyTorch's own float32 error: sums are taken in another order.
      #expect(abs(Double(report.loss) - golden.losses[step]) <= 4 * golden.lossesNoise, "step \(step)")
    }
    expectState(state, plan, golden)
  }

  private func expectGradients(_ sum: FloatVector, _ plan: JobPlan, _ golden: Golden) {
    let values = sum.values
    for (name, expected) in zip(golden.names, golden.gradientNorms) {
      guard let entry = plan.layout.parameter(named: name) else {
        Issue.record("\(name) is not a parameter")
        continue
      }
      let norm = values[entry.range].reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(norm - expected) <= 4 * golden.gradientNormsNoise, "\(name)")
    }
  }

  private func expectState(_ state: TrainingState, _ plan: JobPlan, _ golden: Golden) {
    func check(_ torchOrder: [Float], _ index: Int, _ expected: [Double], _ noise: Double, _ name: String) {
      let projection = zip(torchOrder, LoopGolden.uniform(9000 + index, count: torchOrder.count)).reduce(0) {
        $0 + Double($1.0) * $1.1
      }
      let norm = torchOrder.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(norm - expected[0]) <= 4 * noise && abs(projection - expected[1]) <= 4 * noise, "\(name)")
    }
    let weights = state.weights.values
    for (index, name) in golden.names.enumerated() {
      guard let entry = plan.layout.parameter(named: name) else { continue }
      check(
        entry.parameter.weightOrder.torchOrder(fromKernel: weights[entry.range]), index, golden.parameters[index],
        golden.parametersNoise, name)
    }
    let statistics = state.statistics.values
    #expect(plan.layout.buffers.count == golden.buffers.count)
    for (index, entry) in plan.layout.buffers.enumerated() {
      check(Array(statistics[entry.range]), index, golden.buffers[index], golden.buffersNoise, entry.buffer.name)
    }
  }

  private static func plan() throws -> JobPlan {
    var spec = JobSpec(name: "golden")
    spec.model.architecture = .resnet18
    spec.model.width = 0.125
    spec.model.stem = .small
    spec.training.batchSize = 16
    spec.training.virtualShards = 4
    spec.training.precision = .fp32
    spec.training.epochs = 1
    spec.training.labelSmoothing = 0.1
    spec.training.optimizer.learningRate = 0.02
    spec.training.optimizer.weightDecay = 0.01
    spec.training.schedule.method = .constant
    spec.quantization.enabled = false
    return try JobPlan(
      spec: spec,
      data: JobPlan.DataShape(
        sample: TensorShape(height: 16, width: 16, channels: 3), classNames: ["a", "b", "c", "d", "e"],
        trainCount: 80, testCount: 0))
  }

  /// Twin of `resnet` in make_loop_golden.py.
  private static func initialWeights(_ layout: ParameterLayout, names: [String]) -> [Float] {
    var weights = [Float](repeating: 0, count: layout.parameterElementCount)
    for (index, name) in names.enumerated() {
      guard let entry = layout.parameter(named: name) else { continue }
      let isWeight = entry.parameter.torchShape.count > 1
      let bound = (3 / Double(entry.parameter.fanIn)).squareRoot()
      let values = LoopGolden.uniform(index, count: entry.elementCount).map {
        Float(isWeight ? $0 * bound : 1 + 0.2 * $0)
      }
      weights.replaceSubrange(entry.range, with: entry.parameter.weightOrder.kernelOrder(fromTorch: values))
    }
    return weights
  }
}
