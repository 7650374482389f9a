// Gradients of every operation against finite differences of the executor's own fp32 loss.
//
// The loss is a sum of Floats, so a difference quotient along a random direction of length 1 has an error of about
// 2^-24 * loss / step from rounding (2^-13 here) and of the order of the step (2^-10) times the share of values that cross
// a kink of ReLU or max. Slopes are 0.02 to 0.1.

import Graph
import Testing

@testable import Training

/// A small network around one operation.
struct OperationCase: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let graph: Graph

  /// Puts an operation between a convolution with BatchNorm, whose parameters feel its input gradient, and a linear layer.
  init(
    _ name: String, size: Int = 6, _ operation: (inout Graph, NodeID) throws -> NodeID
  ) throws {
    testDescription = name
    var graph = try Graph(input: TensorShape(height: size, width: size, channels: 3))
    let stem = try graph.convolution("stem", graph.input, outputChannels: 5, kernel: 3, padding: 1)
    var node = try operation(&graph, graph.batchNorm("stemNorm", stem))
    if graph[node].shape.pixelCount > 1 { node = try graph.globalAveragePool("pool", node) }
    if !graph[node].shape.isLogits { node = try graph.linear("fc", node, outputChannels: 4) }
    try graph.addOutput("logits", node)
    self.graph = graph
  }

  static let all: [OperationCase] = {
    do {
      return [
        try OperationCase("convolution 3x3") { try $0.convolution("x", $1, outputChannels: 7, kernel: 3, padding: 1) },
        try OperationCase("convolution 3x3 stride 2 with bias") {
          try $0.convolution("x", $1, outputChannels: 7, kernel: 3, stride: 2, padding: 1, hasBias: true)
        },
        try OperationCase("convolution 1x1 stride 2") {
          try $0.convolution("x", $1, outputChannels: 17, kernel: 1, stride: 2)
        },
        try OperationCase("convolution 7x7 stride 2", size: 9) {
          try $0.convolution("x", $1, outputChannels: 3, kernel: 7, stride: 2, padding: 3)
        },
        try OperationCase("linear") { try $0.linear("x", $0.globalAveragePool("gap", $1), outputChannels: 6) },
        try OperationCase("BatchNorm with ReLU") {
          try $0.relu("r", $0.batchNorm("x", $0.convolution("c", $1, outputChannels: 4, kernel: 1)))
        },
        try OperationCase("ReLU alone") { try $0.relu("x", $0.convolution("c", $1, outputChannels: 4, kernel: 1)) },
        try OperationCase("sum of two branches") {
          try $0.add(
            "x", $0.convolution("a", $1, outputChannels: 4, kernel: 3, padding: 1),
            $0.convolution("b", $1, outputChannels: 4, kernel: 1))
        },
        try OperationCase("residual add with ReLU, identity read twice") {
          let branch = try $0.convolution("c", $1, outputChannels: 5, kernel: 3, padding: 1)
          return try $0.relu("r", $0.add("x", $0.batchNorm("n", branch), $1))
        },
        try OperationCase("residual add without BatchNorm, with ReLU") {
          try $0.relu("r", $0.add("x", $0.convolution("c", $1, outputChannels: 5, kernel: 1), $1))
        },
        try OperationCase("max pooling 3x3 stride 2") { try $0.maxPool("x", $1, kernel: 3, stride: 2, padding: 1) },
        try OperationCase("nearest upsampling with a lateral sum") {
          let small = try $0.convolution("c", $1, outputChannels: 5, kernel: 3, stride: 2, padding: 1)
          return try $0.add("x", $0.upsampleNearest("u", small, factor: 2), $1)
        },
      ]
    } catch {
      preconditionFailure("\(error)")
    }
  }()
}

extension TensorShape {
  fileprivate var isLogits: Bool { pixelCount == 1 && channels == 4 }
}

@Suite("Gradients of operations")
struct OperationGradientTests {
  private static let (batch, shards) = (8, 2)

  private func member(_ graph: Graph) throws -> Member {
    let member = try Member(graph, shards: 0..<Self.shards, of: Self.shards, samplesPerShard: Self.batch / Self.shards)
    let (input, labels) = formulaBatch(graph[graph.input].shape, samples: Self.batch, classes: 4)
    member.load(input: input, labels: labels)
    return member
  }

  private func meanLoss(_ member: Member, _ weights: [Float]) -> Double {
    member.load(weights: weights)
    member.executor.forward(labelSmoothing: 0.1, pieces: member.pieces, maxima: nil)
    return Double(member.pieces[0][member.reduction.lossIndex]) / Double(Self.batch)
  }

  private func compareWithDifferences(_ member: Member, _ layout: ParameterLayout, _ name: String) {
    let weights = formulaWeights(layout)
    member.step(weights: weights, smoothing: 0.1)
    let gradient = reducedSum([member])
    for entry in layout.parameters {
      var direction = formulaValues("direction of \(entry.parameter.name)", count: entry.elementCount)
      let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
      direction = direction.map { $0 / length }
      let step: Float = 0x1p-10
      var (above, below) = (weights, weights)
      for (index, element) in entry.range.enumerated() {
        above[element] += step * direction[index]
        below[element] -= step * direction[index]
      }
      let difference = (meanLoss(member, above) - meanLoss(member, below)) / Double(2 * step)
      let expected = zip(entry.range, direction).reduce(0) { $0 + Double(gradient[$1.0]) * Double($1.1) }
      #expect(abs(difference - expected) < 5e-4, "\(name), \(entry.parameter.name): \(difference), \(expected)")
    }
  }

  @Test("analytic gradients are the slopes of the loss", arguments: OperationCase.all)
  func slopes(_ operation: OperationCase) throws {
    let member = try member(operation.graph)
    compareWithDifferences(member, ParameterLayout(operation.graph), operation.testDescription)
  }

  @Test("with frozen statistics the gradient has no terms through them")
  func frozenStatistics() throws {
    let graph = OperationCase.all.first { $0.testDescription == "BatchNorm with ReLU" }!.graph
    let layout = ParameterLayout(graph)
    let member = try member(graph)
    let statistics = FloatVector(
      layout.buffers.reduce(into: [Float](repeating: 0, count: layout.bufferElementCount)) { values, entry in
        for (index, value) in zip(entry.range, formulaValues(entry.buffer.name, count: entry.elementCount)) {
          values[index] = entry.buffer.kind == .runningMean ? value : 1 + value
        }
      })
    member.executor.setFrozenStatistics(statistics.pointer)
    compareWithDifferences(member, layout, "frozen")
    let (sum, slot) = (reducedSum([member]), member.reduction.batchNorms[0])
    let entry = try #require(layout.buffer(named: "\(slot.name).running_mean"))
    #expect(sum[slot.meanOffset] == Float(Self.shards) * statistics.pointer[entry.offset])
    withExtendedLifetime(statistics) {}
  }

  @Test("a parameter that the loss does not reach is refused by name")
  func unreachableParameter() throws {
    var graph = try Graph(input: TensorShape(height: 4, width: 4, channels: 1))
    _ = try graph.convolution("lost", graph.input, outputChannels: 2, kernel: 1)
    try graph.addOutput("logits", graph.linear("fc", graph.globalAveragePool("pool", graph.input), outputChannels: 2))
    #expect {
      _ = try self.member(graph)
    } throws: { error in
      (error as? TrainingError)?.code == .unsupported && (error as? TrainingError)?.location == "lost.weight"
    }
  }

  @Test("BatchNorm over one value per shard is refused")
  func oneValuePerShard() throws {
    var graph = try Graph(input: TensorShape(height: 1, width: 1, channels: 3))
    try graph.addOutput("logits", graph.batchNorm("norm", graph.input))
    #expect {
      _ = try Member(graph, shards: 0..<2, of: 2, samplesPerShard: 1)
    } throws: { error in
      (error as? TrainingError)?.location == "norm"
    }
  }
}
