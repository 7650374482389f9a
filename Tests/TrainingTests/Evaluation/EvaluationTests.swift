// From trained states to deployed models and what they predict.

import Data
import JobSpec
import Quantization
import Testing

@testable import Training

@Suite struct EvaluationTests {
  /// Eight epochs of the fixture, quantized from the fifth.
  static let trained = Result {
    try Members.train(
      JobFixture.spec {
        $0.training.epochs = 8
        $0.quantization.startEpoch = 5
      }, ranges: [0..<8], until: 32, evaluating: true)
  }

  static func plan() throws -> JobPlan {
    try JobFixture.plan(
      JobFixture.spec {
        $0.training.epochs = 8
        $0.quantization.startEpoch = 5
      })
  }

  @Test("the trained fixture is learned in float and in integers, and says what was evaluated")
  func metrics() throws {
    let metrics = try #require(try Self.trained.get().metrics)
    #expect(metrics.epoch == 8 && metrics.step == 32 && metrics.phase == .quantized && metrics.usesWeightAverage)
    #expect(metrics.float.sampleCount == 24 && metrics.float.accuracy > 0.9)
    let int8 = try #require(metrics.int8)
    #expect(int8.accuracy > 0.9)
    #expect(int8.rareMeanAveragePrecision == int8.classes[2].averagePrecision)
  }

  @Test(
    "an evaluation ends where its caller says so, before the next batch, in float or in integers", arguments: [0, 1, 4])
  func check(batches: Int) throws {
    struct Enough: Error {}
    let plan = try Self.plan()
    let trainer = try Trainer(
      plan: plan, state: try Self.trained.get().state, dataset: JobFixture.dataset(), ranges: [0..<8], rank: 0,
      threads: 1)
    let hub = InProcessHub(plan: plan.reduction, shardCount: 8, worldSize: 1)
    let reducer = InProcessReducer(hub: hub, rank: 0, plan: plan.reduction, shards: 0..<8)
    var asked = 0
    #expect(throws: Enough.self) {
      _ = try trainer.evaluate(
        reducer,
        check: {
          if asked == batches { throw Enough() }
          asked += 1
        })
    }
    // Nothing of it stays.
    let whole = try trainer.evaluate(reducer)
    #expect(try whole == Self.trained.get().metrics)
  }

  @Test("predictions of one process equal what the members gathered, for any batch size")
  func batches() throws {
    let outcome = try Self.trained.get()
    let test = JobFixture.dataset().test
    let model = try outcome.state.quantizedModel(plan: Self.plan())
    let logits = try [1, 5, 24].map { size in
      try Evaluation.predictions(
        of: model, on: test, spec: JobFixture.spec { $0.evaluation.batchSize = size }, threads: 2)
    }
    #expect(logits[0] == logits[1] && logits[1] == logits[2])
    #expect(
      ClassificationMetrics(logits[0], classNames: JobFixture.classNames, rareClasses: ["spot"])
        == outcome.metrics?.int8)
  }

  @Test("blocks of evaluation cover the split once for any number of members")
  func ranges() {
    for (samples, size) in [(24, 7), (1, 250), (0, 250), (1000, 250), (1001, 250)] {
      for world in 1...5 {
        let ranges = Evaluation.ranges(sampleCount: samples, batchSize: size, worldSize: world)
        #expect(ranges.flatMap { Array($0) } == Array(0..<samples))
      }
    }
  }

  @Test("the int8 model is the moving average with the observers' scales")
  func quantizedModel() throws {
    let outcome = try Self.trained.get()
    let model = try outcome.state.quantizedModel(plan: Self.plan())
    let observer = try #require(
      zip(outcome.state.observerNames, outcome.state.observers).first { $0.0 == "avgpool.input" })
    #expect(model.activationScales["avgpool.input"] == observer.1.absMax / 127)
    #expect(model.isQuantized && model.activationScales.count == outcome.state.observers.count)
    #expect(try !outcome.state.floatModel(plan: Self.plan()).isQuantized)
  }

  @Test("before the quantized phase there is no int8 model, and the missing scale is named")
  func notYetQuantized() throws {
    let state = try JobFixture.initialState(Self.plan())
    let error = #expect(throws: QuantizationError.self) { try state.quantizedModel(plan: Self.plan()) }
    #expect(error?.location == "conv1.input")
  }

  @Test("post-training quantization with the largest value clips nothing of the calibration images", arguments: [1, 2])
  func postTraining(threads: Int) throws {
    let outcome = try Self.trained.get()
    let dataset = JobFixture.dataset()
    var calibration = JobSpec.Calibration()
    calibration.images = 64
    calibration.method = .max
    let plan = try Self.plan()
    let model = try PostTraining.quantize(
      plan: plan, state: outcome.state, samples: dataset.train, calibration: calibration, threads: threads)
    // All 64 training images were seen, so the input's scale is that of the largest normalized pixel.
    let pixels = (0..<64).flatMap { sample in (0..<144).map { dataset.train.pixels(sample)[$0] } }
    let largest = pixels.map { abs((Float($0) - 128) / 64) }.max() ?? 0
    #expect(model.activationScales["conv1.input"] == largest / 127)
    let float = try Evaluation.predictions(
      of: outcome.state.floatModel(plan: plan), on: dataset.test, spec: plan.spec, threads: 1)
    let quantized = try Evaluation.predictions(of: model, on: dataset.test, spec: plan.spec, threads: 1)
    let agreeing = zip(float.predictedLabels, quantized.predictedLabels).filter { $0 == $1 }.count
    #expect(agreeing >= 22, "\(agreeing) of 24 labels agree")
  }

  @Test(
    "a percentile clips what the largest value does not, on either mix of classes",
    arguments: JobSpec.Calibration.Mix.allCases)
  func mixes(_ mix: JobSpec.Calibration.Mix) throws {
    let outcome = try Self.trained.get()
    var calibration = JobSpec.Calibration()
    calibration.images = 30
    calibration.mix = mix
    let scales = try [(JobSpec.Calibration.Method.max, 100.0), (.percentile, 90)].map { method, percentile in
      calibration.method = method
      calibration.percentile = percentile
      return try PostTraining.quantize(
        plan: Self.plan(), state: outcome.state, samples: JobFixture.dataset().train, calibration: calibration,
        threads: 1
      ).activationScales
    }
    #expect(scales[0].keys == scales[1].keys)
    for (name, largest) in scales[0] { #expect((scales[1][name] ?? 0) < largest, "\(name)") }
  }

  @Test("a comparison has one column per model and an interval against the first")
  func comparison() throws {
    let outcome = try Self.trained.get()
    let plan = try Self.plan()
    let test = JobFixture.dataset().test
    let models = try [outcome.state.floatModel(plan: plan), outcome.state.quantizedModel(plan: plan)]
      .map { try Evaluation.predictions(of: $0, on: test, spec: plan.spec, threads: 1) }
    let comparison = ModelComparison(
      Array(zip(["float", "INT8 QAT"], models)).map { (title: $0, predictions: $1) },
      classNames: JobFixture.classNames, rareClasses: ["spot"], trainCounts: [32, 16, 16])
    #expect(comparison.prevalence == [0.5, 0.25, 0.25])
    #expect(comparison.columns.map(\.title) == ["float", "INT8 QAT"])
    #expect(comparison.columns[0].rareDifference == nil)
    let interval = try #require(comparison.columns[1].rareDifference)
    #expect(interval.lower <= interval.difference && interval.difference <= interval.upper)
  }
}
