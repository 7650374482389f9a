// A job small enough for tests: ResNet-10 of width 8 on 12 x 12 images, two epochs of four steps, then quantized ones.

import Graph
import JobSpec

@testable import Data
@testable import Training

/// Small jobs and data.
enum JobFixture {
  static let classNames = ["plain", "bars", "spot"]

  /// 64 training and 24 test images of three classes that differ in brightness and texture.
  static func dataset() -> InMemoryDataset { cachedDataset }

  private static func makeDataset() -> InMemoryDataset {
    let train = samples(count: 64, tag: 1)
    let test = samples(count: 24, tag: 2)
    return InMemoryDataset(
      manifest: StoreManifest(
        name: "fixture", height: 12, width: 12, channels: 1, classNames: classNames, train: entry(train),
        test: entry(test), identity: "0123456789abcdef"),
      train: train, test: test)
  }

  /// A job of three epochs with FP16, EMA and augmentation; the quantized phase starts at epoch 2.
  static func spec(_ change: (inout JobSpec) -> Void = { _ in }) -> JobSpec {
    var spec = JobSpec(name: "fixture")
    spec.model.architecture = .resnet10
    spec.model.width = 0.125
    spec.model.stem = .small
    spec.data.normalization.mean = [128]
    spec.data.normalization.deviation = [64]
    spec.data.augmentation.flipHorizontal = true
    spec.data.augmentation.shift = 1
    spec.data.rareClasses = ["spot"]
    spec.training.epochs = 3
    spec.training.batchSize = 16
    spec.training.virtualShards = 8
    spec.training.labelSmoothing = 0.05
    spec.training.optimizer.learningRate = 0.05
    spec.training.ema.decay = 0.9
    spec.training.lossScale.initial = 1024
    spec.training.lossScale.growthInterval = 3
    spec.quantization.startEpoch = 2
    spec.quantization.calibrationBatches = 2
    spec.evaluation.batchSize = 7
    change(&spec)
    return spec
  }

  static func plan(_ spec: JobSpec = spec()) throws -> JobPlan {
    try JobPlan(spec: spec, data: JobPlan.DataShape(dataset().manifest))
  }

  /// The initial state of a plan; weights are drawn once, because that takes longest in debug builds.
  static func initialState(_ plan: JobPlan) throws -> TrainingState {
    let state = TrainingState(plan: plan)
    state.weights.copy(from: weights)
    state.average?.weights.copy(from: weights)
    state.average?.statistics.copy(from: state.statistics)
    return state
  }

  private static let weights: [Float] = {
    guard let state = try? TrainingState.initial(plan: plan()) else { return [] }
    return state.weights.values
  }()

  private static let cachedDataset = makeDataset()

  private static func samples(count: Int, tag: Int) -> SampleSet {
    let noise = LoopGolden.uniform(tag, count: count * 144)
    let labels = (0..<count).map { UInt16($0 % 3) }
    let pixels = noise.enumerated().map { index, value -> UInt8 in
      let (sample, column) = (index / 144, index % 12)
      let signal = [0.0, column % 4 < 2 ? 60 : -60, column < 6 ? 80 : 0][sample % 3]
      return UInt8(min(255, max(0, 128 + signal + 40 * value)))
    }
    return SampleSet(pixels: pixels, labels: labels, height: 12, width: 12, channels: 1, classCount: 3)
  }

  private static func entry(_ samples: SampleSet) -> StoreManifest.SplitEntry {
    var counts = [0, 0, 0]
    for label in samples.labels { counts[Int(label)] += 1 }
    let chunk = StoreManifest.ChunkEntry(file: "chunk", byteCount: 0, crc32: 0, sampleCount: samples.count)
    return StoreManifest.SplitEntry(chunks: [chunk], classCounts: counts)
  }
}
