// A step's sums have the same bits for any assignment of shards to members, any number of threads and whatever memory held.

import AllocationCounter
import Graph
import Quantization
import Testing

@testable import Training

@Suite("Bit identity of a step")
struct BitIdentityTests {
  private static let precisions: [ExecutionPrecision] = [.fp32, .fp16, .quantized]
  private static let samplesPerShard = 3

  /// ResNet-10 on 12x12: feature maps of 6, 3, 2 and 1 pixels across, odd everything.
  private static func graph(_ precision: ExecutionPrecision) throws -> Graph {
    let graph = try ResNet.build(
      depth: 10, width: 0.125, stem: .small(stride: 2), input: TensorShape(height: 12, width: 12, channels: 1),
      classes: 5)
    return precision == .quantized ? try QuantizationPlacement.apply(to: graph) : graph
  }

  /// The members of a job whose shards are cut at these places, after one step.
  private func step(_ precision: ExecutionPrecision, cuts: [Int], threads: Int = 1) throws -> [Member] {
    let graph = try Self.graph(precision)
    let weights = formulaWeights(ParameterLayout(graph))
    let (input, labels) = formulaBatch(graph[graph.input].shape, samples: 8 * Self.samplesPerShard, classes: 5)
    return try zip(cuts, cuts.dropFirst()).map { first, last in
      let member = try Member(
        graph, shards: first..<last, of: 8, samplesPerShard: Self.samplesPerShard, precision: precision,
        threads: threads)
      member.load(input: input, labels: labels)
      let scales = [Float](repeating: 0.03, count: member.reduction.observerNames.count)
      member.step(weights: weights, smoothing: 0.1, lossScale: precision == .fp16 ? 256 : 1, scales: scales)
      return member
    }
  }

  private func expectSame(_ left: [Float], _ right: [Float], _ what: String) {
    let different = zip(left, right).enumerated().filter { $1.0.bitPattern != $1.1.bitPattern }.map(\.offset)
    #expect(
      left.count == right.count && different.isEmpty, "\(what): \(different.count) differ, first \(different.prefix(3))"
    )
  }

  @Test(
    "two, three, four and eight members give the bits of one", arguments: precisions,
    [[0, 4, 8], [0, 3, 8], [0, 1, 2, 8], [0, 3, 5, 8], [0, 2, 4, 6, 8], [0, 1, 2, 3, 4, 5, 6, 7, 8]])
  func members(precision: ExecutionPrecision, cuts: [Int]) throws {
    let one = try step(precision, cuts: [0, 8])
    let several = try step(precision, cuts: cuts)
    expectSame(reducedSum(one), reducedSum(several), "sums of \(cuts)")
    let ranges = several.map(\.ranges).reduce(one[0].ranges.map { _ in -Float.infinity }) { zip($0, $1).map(max) }
    if precision == .quantized { expectSame(one[0].ranges, ranges, "ranges of \(cuts)") }
  }

  @Test("two and three threads give the bits of one", arguments: precisions, [2, 3])
  func threads(precision: ExecutionPrecision, threads: Int) throws {
    let (one, several) = (try step(precision, cuts: [0, 8]), try step(precision, cuts: [0, 8], threads: threads))
    expectSame(reducedSum(one), reducedSum(several), "\(threads) threads")
    expectSame(one[0].ranges, several[0].ranges, "ranges of \(threads) threads")
  }

  @Test("a step reads nothing that it has not written", arguments: precisions)
  func poisonedMemory(precision: ExecutionPrecision) throws {
    let member = try step(precision, cuts: [0, 8])[0]
    let (first, ranges) = (reducedSum([member]), member.ranges)
    let weights = formulaWeights(ParameterLayout(try Self.graph(precision)))
    member.executor.poisonTransientMemory()
    member.step(weights: weights, smoothing: 0.1, lossScale: precision == .fp16 ? 256 : 1)
    expectSame(first, reducedSum([member]), "a second step")
    expectSame(ranges, member.ranges, "ranges of a second step")
  }

  @Test("gradients are finite and not all zero", arguments: precisions)
  func finite(precision: ExecutionPrecision) throws {
    let sum = reducedSum(try step(precision, cuts: [0, 8]))
    #expect(!sum.contains { !$0.isFinite })
    // On maps of one pixel only the center taps of 3x3 kernels see anything.
    #expect(sum.filter { $0 != 0 }.count > sum.count / 4)
  }

  @Test("a gradient that is not a number reaches the weights of every layer", arguments: precisions)
  func notANumber(precision: ExecutionPrecision) throws {
    let layout = ParameterLayout(try Self.graph(precision))
    let member = try step(precision, cuts: [0, 8])[0]
    var weights = formulaWeights(layout)
    weights[try #require(layout.parameter(named: "fc.bias")).offset] = .nan
    member.step(weights: weights, smoothing: 0.1, lossScale: precision == .fp16 ? 256 : 1)
    let sum = reducedSum([member])
    for entry in layout.parameters where entry.parameter.name.contains("conv") {
      let isNumber = sum[entry.offset..<entry.offset + entry.elementCount].filter { !$0.isNaN }.count
      // On small maps the outer taps of 3x3 kernels see padding only.
      #expect(isNumber < entry.elementCount, "\(entry.parameter.name)")
    }
  }

  @Test("buckets are announced in order, and what is announced does not change afterwards", arguments: precisions)
  func announcedBuckets(precision: ExecutionPrecision) throws {
    var graph = try ResNet.build(
      depth: 18, width: 0.375, stem: .small(stride: 2), input: TensorShape(height: 16, width: 16, channels: 1),
      classes: 5)
    if precision == .quantized { graph = try QuantizationPlacement.apply(to: graph) }
    let member = try Member(graph, shards: 1..<4, of: 4, samplesPerShard: 2, precision: precision)
    let (input, labels) = formulaBatch(graph[graph.input].shape, samples: 8, classes: 5)
    member.load(input: input, labels: labels)
    member.load(weights: formulaWeights(ParameterLayout(graph)))
    member.executor.forward(labelSmoothing: 0, pieces: member.pieces, maxima: member.maxima)
    let buckets = member.reduction.buckets
    var announced: [[[Float]]] = []
    member.executor.backward(lossScale: 1, pieces: member.pieces) { bucket in
      #expect(bucket == announced.count)
      announced.append(member.pieces.map { piece in buckets[bucket].map { piece[$0] } })
    }
    #expect(announced.count == buckets.count && buckets.count >= 4)
    for (range, values) in zip(buckets, announced) {
      #expect(values == member.pieces.map { piece in range.map { piece[$0] } }, "bucket \(range)")
    }
  }

  @Test("a step allocates nothing after warm-up", arguments: precisions)
  func allocations(precision: ExecutionPrecision) throws {
    try #require(temper_allocation_count() >= 0)
    let member = try step(precision, cuts: [0, 8])[0]
    let weights = formulaWeights(ParameterLayout(try Self.graph(precision)))
    // The first step warms up.
    var last = Int.max
    for _ in 0..<2 {
      let before = temper_thread_allocation_count()
      member.load(weights: weights)
      member.executor.forward(labelSmoothing: 0, pieces: member.pieces, maxima: member.maxima)
      member.executor.backward(lossScale: 1, pieces: member.pieces) { _ in }
      last = temper_thread_allocation_count() - before
    }
    #expect(last == 0)
  }
}
