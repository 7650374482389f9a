// Every optimizer through the same table, against PyTorch's numbers.

import Graph
import JobSpec
import Testing

@testable import Training

@Suite struct OptimizerTests {
  struct Golden: Decodable {
    let vectors: [[Double]]
    let noise: [Double]
  }

  struct Case: CustomTestStringConvertible {
    let name: String
    let moments: [String]
    let spec: JobSpec.Training.Optimizer
    var testDescription: String { name }
  }

  static let cases = [
    Case(name: "sgd", moments: ["momentum"], spec: optimizer { $0.nesterov = false }),
    Case(name: "nesterov", moments: ["momentum"], spec: optimizer { $0.nesterov = true }),
    Case(
      name: "adamw", moments: ["momentum", "variance"],
      spec: optimizer {
        $0.method = .adamw
        $0.beta2 = 0.99
        $0.epsilon = 1e-6
      }),
  ]

  @Test("five steps with a changing learning rate agree with PyTorch, decay on weights only", arguments: cases)
  func fiveSteps(_ testCase: Case) throws {
    let golden = try #require(
      try LoopGolden.decode("optimizers", as: [String: Golden].self)[testCase.name])
    let layout = try Self.layout()
    let optimizer = Optimizer(testCase.spec, layout: layout)
    #expect(optimizer.momentNames == testCase.moments)
    let vectors = StateVectors(
      weights: FloatVector(Self.vector(layout) { 100 + $0 }), moments: optimizer.initialMoments())
    for (step, rate) in [0.1, 0.08, 0.05, 0.02, 0.01].enumerated() {
      // A loss scale of 4 must cancel.
      let gradient = FloatVector(Self.vector(layout) { 1000 + 10 * step + $0 }.map { 4 * $0 })
      for part in 0..<3 {
        let range = optimizer.share(part: part, of: 3)
        optimizer.update(
          range, of: vectors, gradient: gradient.pointer + range.lowerBound, into: vectors,
          step: Optimizer.Step(learningRate: rate, update: step + 1, gradientScale: 0.25))
      }
    }
    for (index, vector) in vectors.all.enumerated() {
      let values = Self.torchOrder(vector, layout)
      let deviation = zip(values, golden.vectors[index]).map { abs(Double($0) - $1) }.max() ?? .infinity
      // PyTorch's own float32 run is `noise` away from the float64 numbers; ours may round in other places, and takes
      // 1 - Float(beta), off by up to 2^-25, of gradients below 1 in each of five steps.
      #expect(deviation <= 2 * golden.noise[index] + 5 * 0x1p-25, "\(["weights"] + testCase.moments)[\(index)]")
    }
  }

  @Test("powers by squaring equal repeated multiplication to the last bits")
  func powers() {
    var product = 1.0
    for exponent in 0..<200 {
      #expect(abs(Optimizer.power(0.999, exponent) - product) <= 1e-15 * Double(exponent + 1))
      product *= 0.999
    }
  }

  private static func optimizer(_ change: (inout JobSpec.Training.Optimizer) -> Void) -> JobSpec.Training.Optimizer {
    var spec = JobSpec.Training.Optimizer()
    spec.momentum = 0.9
    spec.weightDecay = 0.05
    change(&spec)
    return spec
  }

  private static func layout() throws -> ParameterLayout {
    var graph = try Graph(input: TensorShape(height: 4, width: 4, channels: 3))
    var node = try graph.convolution("conv1", graph.input, outputChannels: 4, kernel: 3, padding: 1)
    node = try graph.globalAveragePool("avgpool", graph.relu("relu", graph.batchNorm("bn1", node)))
    try graph.addOutput("logits", graph.linear("fc", node, outputChannels: 2))
    return ParameterLayout(graph)
  }

  private static func vector(_ layout: ParameterLayout, tag: (Int) -> Int) -> [Float] {
    var values = [Float](repeating: 0, count: layout.parameterElementCount)
    for (index, entry) in layout.parameters.enumerated() {
      let torch = LoopGolden.uniform(tag(index), count: entry.elementCount).map(Float.init)
      values.replaceSubrange(entry.range, with: entry.parameter.weightOrder.kernelOrder(fromTorch: torch))
    }
    return values
  }

  private static func torchOrder(_ vector: FloatVector, _ layout: ParameterLayout) -> [Float] {
    let values = vector.values
    return layout.parameters.flatMap { $0.parameter.weightOrder.torchOrder(fromKernel: values[$0.range]) }
  }
}
