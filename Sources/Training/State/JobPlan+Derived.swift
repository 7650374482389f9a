// What training derives from the spec in the terms of Graph, Quantization and Data.

public import Data
import Graph
import JobSpec
public import Quantization

extension JobPlan.DataShape {
  /// The shape of a data set as its manifest has it.
  public init(_ manifest: StoreManifest) {
    self.init(
      sample: TensorShape(height: manifest.height, width: manifest.width, channels: manifest.channels),
      classNames: manifest.classNames, trainCount: manifest.train.sampleCount, testCount: manifest.test.sampleCount)
  }
}

extension JobPlan {
  /// The rule that every observer follows.
  public var observer: Observer {
    switch spec.quantization.activations.observer {
    case .minMax: .minMax
    case .movingAverage: .movingAverageMinMax(constant: Float(spec.quantization.activations.momentum))
    }
  }

  /// Whether the test split is evaluated after an epoch, counted from 1; always after the last.
  public func evaluates(afterEpoch epoch: Int) -> Bool {
    epoch == spec.training.epochs || epoch.isMultiple(of: spec.evaluation.everyEpochs)
  }

  /// What the deployed model expects of pixels, one value per channel.
  public var normalization: Normalization {
    func perChannel(_ values: [Double]) -> [Float] {
      (0..<data.sample.channels).map { Float(values.count == 1 ? values[0] : values[$0]) }
    }
    return Normalization(
      mean: perChannel(spec.data.normalization.mean), deviation: perChannel(spec.data.normalization.deviation))
  }

  /// Weight of the newest batch in the running statistics.
  var batchNormMomentum: Float {
    for node in floatGraph.nodes {
      if case .batchNorm(let batchNorm) = node.operation { return batchNorm.momentum }
    }
    return 0
  }

  /// The global step whose batch is the calibration batch of this index: those to come, within the epoch.
  func calibrationStep(_ index: Int, from step: Int) -> Int {
    let stepInEpoch = step % stepsPerEpoch
    return step - stepInEpoch + (stepInEpoch + index) % stepsPerEpoch
  }

  /// Bits, ranges and granularity of the spec in Quantization's terms.
  static func placement(_ spec: JobSpec.Quantization) throws -> QuantizationPlacement.Options {
    QuantizationPlacement.Options(
      weights: WeightQuantization(
        range: try IntegerRange(bits: spec.weights.bits, narrow: spec.weights.narrowRange),
        granularity: spec.weights.granularity == .perChannel ? .perChannel : .perTensor),
      activations: try IntegerRange(bits: spec.activations.bits), quantizeHead: spec.quantizeHead)
  }

  /// Refuses a data set that is not the plan's.
  func check(_ dataset: InMemoryDataset) throws {
    let found = DataShape(dataset.manifest)
    guard found == data else {
      throw TrainingError(
        .invalidData, "the data set is \(found); the job was planned for \(data)",
        hint: "fetch the data set that the job names", location: dataset.manifest.name)
    }
  }
}
