// Deployed models against the training executor with frozen statistics, which normalizes and quantizes by another path.

import Graph
import Quantization
import Testing

@testable import Training

@Suite("Inference")
struct InferenceExecutorTests {
  private static let classes = 6
  private static let samples = 16

  private struct Subject {
    let graph: Graph
    let layout: ParameterLayout
    let weights: [Float]
    let statistics: [Float]
    let scales: [Float]
    let model: DeployedModel

    init(quantized: Bool, stem: ResNet.Stem = .imagenet) throws {
      let float = try ResNet.build(
        depth: 10, width: 0.125, stem: stem, input: TensorShape(height: 40, width: 40, channels: 3), classes: classes)
      graph = quantized ? try QuantizationPlacement.apply(to: float) : float
      layout = ParameterLayout(graph)
      weights = formulaWeights(layout)
      var statistics = [Float](repeating: 0, count: layout.bufferElementCount)
      for entry in layout.buffers {
        for (index, value) in zip(entry.range, formulaValues(entry.buffer.name, count: entry.elementCount)) {
          statistics[index] = entry.buffer.kind == .runningMean ? 0.2 * value : 1 + value
        }
      }
      self.statistics = statistics
      let names = graph.fakeQuantizeNodes.map(\.name)
      scales = names.indices.map { 0.02 + 0.002 * Float($0) }
      model = try DeployedModel(
        graph: graph, tensors: layout.tensors(parameters: weights, buffers: statistics),
        activationScales: Dictionary(uniqueKeysWithValues: zip(names, scales)),
        classNames: (0..<classes).map { "class \($0)" },
        normalization: Normalization(mean: [0, 0, 0], deviation: [1, 1, 1]))
    }

    /// Logits by the training executor.
    func trainedLogits(_ input: [Float], _ labels: [Int32]) throws -> [Float] {
      let member = try Member(
        graph, shards: 0..<2, of: 2, samplesPerShard: samples / 2,
        precision: graph.fakeQuantizeNodes.isEmpty ? .fp32 : .quantized)
      member.load(input: input, labels: labels)
      let frozen = FloatVector(statistics)
      member.executor.setFrozenStatistics(frozen.pointer)
      member.executor.setActivationScales(scales)
      member.load(weights: weights)
      member.executor.forward(labelSmoothing: 0, pieces: member.pieces, maxima: member.maxima)
      withExtendedLifetime(frozen) {}
      return (0..<samples * classes).map { member.executor.logits[$0] }
    }
  }

  private func logits(_ executor: InferenceExecutor, _ input: [Float], count: Int) -> [Float] {
    let perSample = input.count / Self.samples
    for index in 0..<count * perSample { executor.input[index] = input[index] }
    let logits = executor.run(count: count)
    return (0..<count * Self.classes).map { logits[$0] }
  }

  @Test(
    "float and integer models agree with the training executor under the same statistics", arguments: [false, true])
  func agreesWithTraining(quantized: Bool) throws {
    let subject = try Subject(quantized: quantized)
    #expect(subject.model.isQuantized == quantized)
    let (input, labels) = formulaBatch(
      subject.graph[subject.graph.input].shape, samples: Self.samples, classes: Self.classes)
    let executor = try InferenceExecutor(
      model: subject.model, maximumBatch: Self.samples, pool: ThreadPool(threadCount: 1))
    let (deployed, trained) = (logits(executor, input, count: Self.samples), try subject.trainedLogits(input, labels))
    let largest = trained.map(abs).max() ?? 0
    // Folding multiplies before the sum instead of after it. In integers that moves values over rounding boundaries, each
    // by one level of 1/127 of the range; over the eleven layers a few percent of the logits.
    let tolerance = largest * (quantized ? 5e-2 : 1e-5)
    for (index, (left, right)) in zip(deployed, trained).enumerated() {
      #expect(abs(left - right) <= tolerance, "logit \(index): \(left), \(right)")
    }
  }

  @Test("a sample's logits do not depend on the batch around it or on threads", arguments: [false, true])
  func independentOfBatch(quantized: Bool) throws {
    let subject = try Subject(quantized: quantized, stem: .small(stride: 2))
    let (input, _) = formulaBatch(
      subject.graph[subject.graph.input].shape, samples: Self.samples, classes: Self.classes)
    let whole = logits(
      try InferenceExecutor(model: subject.model, maximumBatch: Self.samples, pool: ThreadPool(threadCount: 1)), input,
      count: Self.samples)
    let threaded = logits(
      try InferenceExecutor(model: subject.model, maximumBatch: 33, pool: ThreadPool(threadCount: 2)), input,
      count: Self.samples)
    #expect(whole.map(\.bitPattern) == threaded.map(\.bitPattern))
    let part = try InferenceExecutor(model: subject.model, maximumBatch: 7, pool: ThreadPool(threadCount: 1))
    for count in [1, 5, 7] {
      #expect(
        logits(part, input, count: count).map(\.bitPattern) == whole.prefix(count * Self.classes).map(\.bitPattern))
    }
  }

  @Test("a visitor sees every float value once, the sources of all fake-quantize nodes among them")
  func visitor() throws {
    let subject = try Subject(quantized: false)
    let placed = try QuantizationPlacement.apply(to: subject.graph).foldingBatchNorm()
    let (input, _) = formulaBatch(
      subject.graph[subject.graph.input].shape, samples: Self.samples, classes: Self.classes)
    let executor = try InferenceExecutor(
      model: subject.model, maximumBatch: Self.samples, pool: ThreadPool(threadCount: 1))
    _ = logits(executor, input, count: Self.samples)
    var counts: [String: Int] = [:]
    var first: [Float] = []
    _ = executor.run(count: 3) { node, values in
      #expect(counts[node] == nil, "\(node) twice")
      counts[node] = values.count
      if node == "input" { first = Array(values) }
    }
    for node in placed.fakeQuantizeNodes {
      let source = placed[node.inputs[0]]
      #expect(counts[source.name] == 3 * source.shape.elementCount, "\(source.name), read by \(node.name)")
    }
    #expect(first == Array(input.prefix(first.count)))
  }

  @Test("calibration sees the ranges of the float network's values")
  func calibration() throws {
    let subject = try Subject(quantized: true)
    let (input, labels) = formulaBatch(
      subject.graph[subject.graph.input].shape, samples: Self.samples, classes: Self.classes)
    let member = try Member(
      subject.graph, shards: 0..<2, of: 2, samplesPerShard: Self.samples / 2, precision: .calibration, threads: 2)
    member.load(input: input, labels: labels)
    member.load(weights: subject.weights)
    member.executor.forwardForCalibration(maxima: member.maxima)
    let index = try #require(member.reduction.observerNames.firstIndex(of: "conv1.input"))
    #expect(member.ranges[2 * index] == -(input.min() ?? 0))
    #expect(member.ranges[2 * index + 1] == input.max())
    for (index, name) in member.reduction.observerNames.enumerated() where !name.hasPrefix("conv1") {
      #expect(member.ranges[2 * index + 1] > 0 && member.ranges[2 * index + 1].isFinite, "\(name)")
    }
  }
}
