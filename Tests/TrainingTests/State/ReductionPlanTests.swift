// Invariants of the vectors' layout, for every model size.

import Graph
import Quantization
import Testing

@testable import Training

@Suite struct ReductionPlanTests {
  static let widths = [0.125, 0.5, 1.0]

  @Test(
    "buckets cover the sum vector once, the tail first, gradients from the last layer to the first", arguments: widths)
  func buckets(_ width: Double) throws {
    let plan = try Self.plan(width)
    #expect(plan.buckets[0] == plan.parameterRange.upperBound..<plan.sumCount)
    var upper = plan.parameterRange.upperBound
    for bucket in plan.buckets.dropFirst() {
      #expect(bucket.upperBound == upper)
      upper = bucket.lowerBound
    }
    #expect(upper == 0)
    #expect(plan.buckets.dropFirst().dropLast().allSatisfy { $0.count >= ReductionPlan.minimumBucketCount })
    for element in stride(from: 0, to: plan.sumCount, by: 997) {
      let bucket = try #require(plan.bucket(containing: element))
      #expect(plan.buckets[bucket].contains(element))
    }
    #expect(plan.bucket(containing: plan.sumCount) == nil)
  }

  @Test("statistics stand in buffer order, every part starts at a multiple of 16 Floats", arguments: widths)
  func statistics(_ width: Double) throws {
    let (graph, layout) = try Self.graph(width)
    let plan = ReductionPlan(graph: graph, layout: layout)
    for slot in plan.batchNorms {
      let mean = try #require(layout.buffer(named: "\(slot.name).running_mean"))
      let variance = try #require(layout.buffer(named: "\(slot.name).running_var"))
      #expect(slot.meanOffset == plan.statisticsRange.lowerBound + mean.offset)
      #expect(slot.varianceOffset == plan.statisticsRange.lowerBound + variance.offset)
      #expect(slot.meanOffset.isMultiple(of: 16) && slot.varianceOffset.isMultiple(of: 16))
      #expect(slot.channels == mean.elementCount)
    }
    #expect(plan.batchNorms.count == 20)
    #expect(plan.sumCount.isMultiple(of: 16) && plan.lossIndex.isMultiple(of: 16))
    #expect(plan.sumCount > plan.correctIndex)
    #expect(plan.observerNames == graph.fakeQuantizeNodes.map(\.name))
    #expect(plan.maximumCount == 2 * graph.fakeQuantizeNodes.count)
  }

  @Test("the float and the quantized graph differ in observers only")
  func phases() throws {
    let (quantized, _) = try Self.graph(0.5)
    let float = try quantized.removingFakeQuantize()
    let plans = [quantized, float].map { ReductionPlan(graph: $0, layout: ParameterLayout($0)) }
    #expect(plans[0].sumCount == plans[1].sumCount && plans[0].buckets == plans[1].buckets)
    #expect(plans[1].maximumCount == 0)
  }

  private static func graph(_ width: Double) throws -> (Graph, ParameterLayout) {
    let graph = try QuantizationPlacement.apply(
      to: ResNet.build(
        depth: 18, width: width, stem: .small(stride: 1), input: TensorShape(height: 32, width: 32, channels: 3),
        classes: 10))
    return (graph, ParameterLayout(graph))
  }

  private static func plan(_ width: Double) throws -> ReductionPlan {
    let (graph, layout) = try graph(width)
    return ReductionPlan(graph: graph, layout: layout)
  }
}
