// What storing gradients as Float16 means: they overflow and underflow where Float16 does, which loss scaling relies on.

import Graph
import Testing

@testable import Training

@Suite("FP16 phase")
struct HalfPrecisionTests {
  private func gradient(lossScale: Float, _ precision: ExecutionPrecision) throws -> [Float] {
    let graph = try ResNet.build(
      depth: 10, width: 0.125, stem: .small(stride: 2), input: TensorShape(height: 12, width: 12, channels: 1),
      classes: 5)
    let layout = ParameterLayout(graph)
    let member = try Member(graph, shards: 0..<2, of: 2, samplesPerShard: 4, precision: precision)
    let (input, labels) = formulaBatch(graph[graph.input].shape, samples: 8, classes: 5)
    member.load(input: input, labels: labels)
    member.step(weights: formulaWeights(layout), lossScale: lossScale)
    return Array(reducedSum([member])[member.reduction.parameterRange])
  }

  @Test("a gradient beyond 65,504 becomes infinite, so that the step is skipped; in fp32 it does not")
  func overflow() throws {
    #expect(try gradient(lossScale: 0x1p24, .fp16).contains { !$0.isFinite })
    #expect(try !gradient(lossScale: 0x1p24, .fp32).contains { !$0.isFinite })
  }

  @Test("a gradient below half of the smallest half vanishes; in fp32 it does not")
  func underflow() throws {
    #expect(try !gradient(lossScale: 0x1p-30, .fp16).contains { $0 != 0 })
    #expect(try gradient(lossScale: 0x1p-30, .fp32).contains { $0 != 0 })
  }

  @Test("a power of two as loss scale changes nothing but the scale")
  func scaling() throws {
    let (plain, scaled) = (try gradient(lossScale: 128, .fp16), try gradient(lossScale: 256, .fp16))
    let largest = plain.map(abs).max() ?? 0
    for (left, right) in zip(plain, scaled) { #expect(abs(2 * left - right) <= 1e-3 * largest) }
  }
}
