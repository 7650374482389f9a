// Whole networks against PyTorch in float64: loss, logits, batch statistics, observed ranges and every parameter's gradient.
// The golden file is made by Golden/make_network_golden.py.

import Foundation
import Graph
import Quantization
import Testing

@testable import Training

/// What the script stores of a tensor.
private struct Summary: Decodable {
  var norm: Double
  var projection: Double
  var values: [Double]
}

/// One network of network_golden.json.
private struct NetworkGolden: Decodable, CustomTestStringConvertible {
  var name: String
  var precision: ExecutionPrecision
  var stages: Int
  var blocks: Int
  var channels: Int
  var stem: String
  var inputs: Int
  var size: Int
  var classes: Int
  var batch: Int
  var shards: Int
  var smoothing: Float
  var input: String
  var lossScale: Float
  var lossSum: Double
  var correct: Float
  var logits: [Double]
  var statistics: [String: Summary]
  var gradients: [String: Summary]
  var ranges: [String: [Double]]
  var activationScale: Float

  var testDescription: String { name }

  static let all: [NetworkGolden] = {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Golden/network_golden.json")
    do {
      return try JSONDecoder().decode([NetworkGolden].self, from: Data(contentsOf: file))
    } catch {
      preconditionFailure("\(file.path): \(error)")
    }
  }()

  /// The script's network; with fewer than four stages, the front of the ResNet under a pooling and a linear layer.
  func graph() throws -> Graph {
    let whole = try ResNet.build(
      depth: blocks == 2 ? 18 : 10, width: Double(channels) / 64,
      stem: stem == "imagenet" ? .imagenet : .small(stride: 2),
      input: TensorShape(height: size, width: size, channels: inputs), classes: classes)
    var graph = try Graph(input: whole[whole.input].shape)
    var last = graph.input
    for node in whole.nodes.dropFirst() {
      guard !node.name.hasPrefix("layer\(stages + 1)"), node.name != "avgpool" else { break }
      last = try graph.add(
        node.operation, name: node.name, inputs: node.inputs.map { graph.node(named: whole[$0].name)!.id })
    }
    last = try graph.linear("fc", graph.globalAveragePool("avgpool", last), outputChannels: classes)
    try graph.addOutput("logits", last)
    return precision == .quantized ? try QuantizationPlacement.apply(to: graph) : graph
  }

  /// Distance from the reference relative to the tensor's norm.
  ///
  /// fp32 and quantized: up to 60 layers of sums over up to 4,608 products, each rounding by 2^-24, amplified by BatchNorm over
  /// few rows. fp16: where Float and Double fall on two sides of a rounding boundary, values differ by 2^-11; with four stages
  /// the reference itself moves by 2 % under noise of 1e-6.
  var tolerance: Double {
    switch precision {
    case .fp16: stages == 1 ? 2e-3 : 5e-2
    case .fp32, .quantized, .calibration: 1e-4
    }
  }

  /// The same of gradients.
  ///
  /// quantized: BatchNorm's input is kept as Float16, so each normalized value that the gradient reads
  /// is off by up to 2^-11 of itself; norms over a tensor average that.
  var gradientTolerance: Double { precision == .quantized ? 0x1p-11 : tolerance }
}

@Suite("Whole networks against PyTorch")
struct NetworkGoldenTests {
  @Test("forward and backward agree with PyTorch", arguments: NetworkGolden.all)
  fileprivate func agreesWithPyTorch(_ golden: NetworkGolden) throws {
    let graph = try golden.graph()
    let layout = ParameterLayout(graph)
    let member = try Member(
      graph, shards: 0..<golden.shards, of: golden.shards, samplesPerShard: golden.batch / golden.shards,
      precision: golden.precision)
    let (input, labels) = formulaBatch(
      graph[graph.input].shape, samples: golden.batch, classes: golden.classes, name: golden.input)
    member.load(input: input, labels: labels)
    member.step(
      weights: formulaWeights(layout), smoothing: golden.smoothing, lossScale: golden.lossScale,
      scales: [Float](repeating: golden.activationScale, count: member.reduction.observerNames.count))
    let sum = reducedSum([member])

    #expect(abs(Double(sum[member.reduction.lossIndex]) - golden.lossSum) <= golden.tolerance * golden.lossSum)
    #expect(sum[member.reduction.correctIndex] == golden.correct)
    let largest = golden.logits.map(abs).max() ?? 0
    for (index, expected) in golden.logits.enumerated() {
      #expect(
        abs(Double(member.executor.logits[index]) - expected) <= 10 * golden.tolerance * largest, "logit \(index)")
    }
    let statistics = Array(sum[member.reduction.statisticsRange])
    for tensor in layout.tensors(parameters: Array(sum[member.reduction.parameterRange]), buffers: statistics) {
      let expected = try #require(golden.gradients[tensor.name] ?? golden.statistics[tensor.name], "\(tensor.name)")
      let isGradient = golden.gradients[tensor.name] != nil
      try compare(tensor, expected, tolerance: isGradient ? golden.gradientTolerance : golden.tolerance)
    }
    #expect(member.reduction.observerNames.count == golden.ranges.count)
    for (index, name) in member.reduction.observerNames.enumerated() where golden.precision == .quantized {
      let expected = try #require(golden.ranges[name], "\(name)")
      let reach = expected.map(abs).max() ?? 0
      for side in 0..<2 {
        let range = Double(member.ranges[2 * index + side])
        #expect(abs(range - expected[side]) <= 10 * golden.tolerance * reach, "\(name) range \(side)")
      }
    }
    #expect(member.completed == Array(member.reduction.buckets.indices))
  }

  private func compare(_ tensor: NamedTensor, _ expected: Summary, tolerance: Double) throws {
    let values = try tensor.floats().map(Double.init)
    let direction = formulaValues("projection", count: values.count).map(Double.init)
    let norm = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let projection = zip(values, direction).reduce(0) { $0 + $1.0 * $1.1 }
    let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(abs(norm - expected.norm) <= tolerance * expected.norm, "\(tensor.name) norm \(norm), \(expected.norm)")
    #expect(
      abs(projection - expected.projection) <= tolerance * expected.norm * length / Double(values.count).squareRoot()
        * 4,
      "\(tensor.name) projection \(projection), \(expected.projection)")
    for (index, value) in expected.values.enumerated() {
      #expect(abs(values[index] - value) <= tolerance * expected.norm, "\(tensor.name)[\(index)]")
    }
  }
}
