// Integer weights, folding BatchNorm into them, and the deployed model.

import Graph
import Quantization
import Testing

@Suite("Deployment")
struct DeployedModelTests {
  @Test("scaling a channel keeps its integers; a negative factor turns signs; zero and vanishing factors make zeros")
  func scaled() throws {
    let order = WeightOrder(torchShape: [5, 2, 1, 1])
    let weights = QuantizedWeights(
      quantizing: (0..<10).map { Float($0) - 4.5 }, order: order, quantization: WeightQuantization())
    let scaled = try weights.scaled(by: [1, 2.5, -3, 0, 1e-38])
    for (index, integer) in weights.integers.enumerated() {
      #expect(scaled.integers[index] == [integer, integer, -integer, 0, 0][index % 5])
    }
    let expected: [Float] = [weights.scales[0], weights.scales[1] * 2.5, weights.scales[2] * 3, 0x1p-23, 0x1p-23]
    #expect(scaled.scales == expected)
    #expect { try weights.scaled(by: [1, .nan, 1, 1, 1]) } throws: { "\($0)".contains("channel 1") }
    #expect { try weights.scaled(by: [1, 1, 1, 1, 3e38 * 10]) } throws: { "\($0)".contains("channel 4") }
  }

  @Test("absmax maps to the limit, per channel or per tensor, in every width", arguments: 2...8)
  func limits(bits: Int) throws {
    let range = try IntegerRange(bits: bits, narrow: true)
    let order = WeightOrder(torchShape: [3, 4])
    let values = (0..<12).map { (Float($0) - 5.5) * Float($0 % 3 + 1) }
    let channel = QuantizedWeights(
      quantizing: values, order: order, quantization: WeightQuantization(range: range))
    let tensor = QuantizedWeights(
      quantizing: values, order: order, quantization: WeightQuantization(range: range, granularity: .perTensor))
    for output in 0..<3 {
      let column = stride(from: output, to: 12, by: 3).map { Int32(channel.integers[$0]).magnitude }
      #expect(column.max() == range.limit.magnitude)
    }
    #expect(tensor.integers.map { Int32($0).magnitude }.max() == range.limit.magnitude)
    #expect(Set(tensor.scales).count == 1)
    // Rounding is at most half a level, plus the rounding of the reciprocal: 2^-23 of at most `limit` levels.
    for (index, value) in values.enumerated() {
      #expect(
        abs(channel.dequantized[index] - value) <= channel.scales[index % 3] * (0.5 + Float(range.limit) * 0x1p-22))
    }
  }

  private func trained() throws -> (graph: Graph, tensors: [NamedTensor], scales: [String: Float]) {
    let graph = try QuantizationPlacement.apply(
      to: ResNet.build(
        depth: 10, width: 0.125, stem: .small(stride: 2), input: TensorShape(height: 8, width: 8, channels: 1),
        classes: 3))
    func values(_ count: Int, positive: Bool) -> [Float] {
      (0..<count).map { index -> Float in
        let spread = (index * 37) % 101 - 50
        return positive ? Float(index % 7 + 1) * 0.25 : Float(spread) * 0.02
      }
    }
    var tensors: [NamedTensor] = graph.parameters.map {
      NamedTensor(name: $0.name, shape: $0.torchShape, floats: values($0.elementCount, positive: false))
    }
    for buffer in graph.buffers {
      let floats = values(buffer.elementCount, positive: buffer.kind == .runningVariance)
      tensors.append(NamedTensor(name: buffer.name, shape: [buffer.elementCount], floats: floats))
    }
    return (graph, tensors, graph.fakeQuantizeNodes.reduce(into: [:]) { $0[$1.name] = 0.05 })
  }

  private func deploy(
    _ graph: Graph, _ tensors: [NamedTensor], _ scales: [String: Float]
  ) throws -> DeployedModel {
    try DeployedModel(
      graph: graph, tensors: tensors, activationScales: scales, classNames: ["a", "b", "c"],
      normalization: Normalization(mean: [0.5], deviation: [0.25]))
  }

  @Test("deployed integers are those of the trained weights; scales and biases carry the folded BatchNorm")
  func deployed() throws {
    let (graph, tensors, scales) = try trained()
    let model = try deploy(graph, tensors, scales)
    let float = try deploy(graph.removingFakeQuantize(), tensors, [:])
    #expect(model.isQuantized && !float.isQuantized)
    #expect(Set(model.layers.keys) == Set(graph.nodes.filter(\.operation.hasWeights).map(\.name)))
    let trainedWeights = try #require(tensors.first { $0.name == "layer3.0.conv2.weight" }).floats()
    let order = WeightOrder(torchShape: [32, 32, 3, 3])
    let quantized = QuantizedWeights(
      quantizing: order.kernelOrder(fromTorch: trainedWeights), order: order, quantization: WeightQuantization())
    guard case .quantized(let weights) = try #require(model.layers["layer3.0.conv2"]).weights,
      case .float(let floats) = try #require(float.layers["layer3.0.conv2"]).weights
    else {
      Issue.record("layer3.0.conv2 must be quantized in one model and float in the other")
      return
    }
    #expect(zip(weights.integers, quantized.integers).allSatisfy { $0 == $1 || $0 == -$1 || $0 == 0 })
    let limits = order.map(weights.dequantized) { _, output in 0.51 * weights.scales[output] }
    for (index, value) in weights.dequantized.enumerated() {
      #expect(abs(value - floats[index]) <= limits[index])
    }
    #expect(model.layers["layer3.0.conv2"]?.bias == float.layers["layer3.0.conv2"]?.bias)
    guard case .float = try #require(model.layers["fc"]).weights else {
      Issue.record("the head stays in float")
      return
    }
    #expect(model.graph.buffers.isEmpty)
  }

  @Test("a missing or useless scale, a BatchNorm without convolution and a float input of integer weights are refused")
  func refusals() throws {
    let (graph, tensors, scales) = try trained()
    for wrong: Float? in [nil, 0, -1, .infinity, .nan] {
      var broken = scales
      broken["avgpool.input"] = wrong
      #expect { try deploy(graph, tensors, broken) } throws: {
        ($0 as? QuantizationError)?.code == .missingValue && "\($0)".contains("avgpool.input")
      }
    }
    var lone = try Graph(input: TensorShape(height: 1, width: 1, channels: 2))
    try lone.addOutput("y", lone.batchNorm("bn", lone.input))
    let loneTensors = ["weight", "bias", "running_mean", "running_var"].map {
      NamedTensor(name: "bn.\($0)", shape: [2], floats: [1, 1])
    }
    #expect { try deploy(lone, loneTensors, [:]) } throws: { "\($0)".contains("bn: error: BatchNorm does not follow") }
    var plain = try Graph(input: TensorShape(height: 1, width: 1, channels: 2))
    let fc = try plain.linear("fc", plain.input, outputChannels: 1, hasBias: false)
    try plain.addOutput("y", fc)
    let half = try plain.insertingFakeQuantize([], weights: [fc: WeightQuantization()])
    let weight = [NamedTensor(name: "fc.weight", shape: [1, 2], floats: [1, 2])]
    #expect { try deploy(half, weight, [:]) } throws: { "\($0)".contains("fc: error: has integer weights") }
    #expect(try deploy(plain, weight, [:]).layers["fc"]?.bias == [0])
  }
}
