// What the executor's tests share: values from a formula, an executor with its vectors, and the tree finished by hand.

import Foundation
import Graph
import Quantization
import Testing

@testable import Training

/// `count` values in [-0.5, 0.5), multiples of 2^-24; twin of `values` in Golden/make_network_golden.py.
func formulaValues(_ name: String, count: Int) -> [Float] {
  var seed: UInt64 = 0xCBF2_9CE4_8422_2325
  for byte in name.utf8 { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
  return (0..<count).map { index in
    var z = (seed &+ UInt64(index)) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z >> 31
    return Float(z >> 40) / 0x1p24 - 0.5
  }
}

/// A parameter's value by formula, in torch order; twin of `parameter` in Golden/make_network_golden.py.
func formulaParameter(_ parameter: Parameter) -> [Float] {
  let values = formulaValues(parameter.name, count: parameter.elementCount)
  switch parameter.kind {
  case .weight:
    let scale = (24 / Float(parameter.fanOut)).squareRoot()
    return values.map { $0 * scale }
  case .batchNormScale: return values.map { 1 + 0.5 * $0 }
  case .bias, .batchNormShift: return values.map { 0.25 * $0 }
  }
}

/// The flat parameter vector by formula.
func formulaWeights(_ layout: ParameterLayout) -> [Float] {
  var flat = [Float](repeating: 0, count: layout.parameterElementCount)
  for entry in layout.parameters {
    let order = entry.parameter.weightOrder
    flat.replaceSubrange(entry.range, with: order.kernelOrder(fromTorch: formulaParameter(entry.parameter)))
  }
  return flat
}

/// One member of a step: an executor and its sum vectors.
final class Member {
  let executor: TrainingExecutor
  let assignment: ShardAssignment
  let reduction: ReductionPlan
  let pieces: [UnsafeMutablePointer<Float>]
  let maxima: UnsafeMutablePointer<Float>
  private(set) var completed: [Int] = []
  private let weights: FloatVector

  init(
    _ graph: Graph, shards: Range<Int>, of shardCount: Int, samplesPerShard: Int, precision: ExecutionPrecision = .fp32,
    threads: Int = 1
  ) throws {
    let layout = ParameterLayout(graph)
    reduction = ReductionPlan(graph: graph, layout: layout)
    assignment = ShardAssignment(shards: shards, shardCount: shardCount, samplesPerShard: samplesPerShard)
    executor = try TrainingExecutor(
      graph: graph, layout: layout, reduction: reduction, assignment: assignment, precision: precision,
      pool: ThreadPool(threadCount: threads))
    weights = FloatVector(count: layout.parameterElementCount)
    let count = reduction.sumCount
    pieces = assignment.pieces.map { _ in
      let piece = UnsafeMutablePointer<Float>.allocate(capacity: count)
      piece.initialize(repeating: 0, count: count)
      return piece
    }
    maxima = .allocate(capacity: max(reduction.maximumCount, 1))
    maxima.initialize(repeating: -.infinity, count: max(reduction.maximumCount, 1))
  }

  deinit {
    for piece in pieces { piece.deallocate() }
    maxima.deallocate()
  }

  /// Copies this member's samples of a global batch.
  func load(input: [Float], labels: [Int32]) {
    let first = assignment.shards.lowerBound * assignment.samplesPerShard
    let perSample = input.count / labels.count
    for index in 0..<assignment.sampleCount * perSample { executor.input[index] = input[first * perSample + index] }
    for index in 0..<assignment.sampleCount { executor.labels[index] = labels[first + index] }
  }

  /// Keeps the weights, which the executor reads until it is done.
  func load(weights values: [Float]) {
    weights.copy(from: values)
    do { try executor.loadWeights(flat: weights.pointer) } catch { Issue.record(error) }
  }

  /// One forward and backward pass.
  func step(weights: [Float], smoothing: Float = 0, lossScale: Float = 1, scales: [Float]? = nil) {
    load(weights: weights)
    if let scales { executor.setActivationScales(scales) }
    executor.forward(labelSmoothing: smoothing, pieces: pieces, maxima: maxima)
    completed = []
    executor.backward(lossScale: lossScale, pieces: pieces) { completed.append($0) }
  }

  /// Own maxima.
  var ranges: [Float] { (0..<reduction.maximumCount).map { maxima[$0] } }
}

/// The sum vector over all shards: the tree over 0..<V finished from members' pieces.
func reducedSum(_ members: [Member]) -> [Float] {
  var bySubtree: [Range<Int>: [Float]] = [:]
  for member in members {
    for (range, piece) in zip(member.assignment.pieces, member.pieces) {
      bySubtree[range] = (0..<member.reduction.sumCount).map { piece[$0] }
    }
  }
  func sum(_ range: Range<Int>) -> [Float] {
    if let piece = bySubtree[range] { return piece }
    let middle = (range.lowerBound + range.upperBound) / 2
    return zip(sum(range.lowerBound..<middle), sum(middle..<range.upperBound)).map { $0 + $1 }
  }
  return sum(0..<members[0].assignment.shardCount)
}

/// A global batch by formula.
func formulaBatch(_ shape: TensorShape, samples: Int, classes: Int, name: String = "input") -> (
  input: [Float], labels: [Int32]
) {
  let input = formulaValues(name, count: samples * shape.elementCount).map { 3 * $0 }
  let labels = formulaValues("labels", count: samples).map { Int32(Double($0 + 0.5) * Double(classes)) }
  return (input, labels)
}
