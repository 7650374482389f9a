// The models that a trained job stands for, run over its test split.

import Checkpoint
import Data
import Foundation
import JobSpec
import Quantization
import Training

struct EvaluatedModels {
  /// Title and predictions, the float model first.
  let models: [(title: String, predictions: Predictions)]
  let comparison: ModelComparison

  /// Evaluates float and INT8; with a baseline, the float model is the baseline's and its post-training quantization comes along.
  init(_ trained: TrainedModel, baseline: TrainedModel?, threads: Int) throws {
    let dataset = trained.dataset
    func predict(_ model: DeployedModel) throws -> Predictions {
      try readable { try Evaluation.predictions(of: model, on: dataset.test, spec: trained.spec, threads: threads) }
    }
    let float = baseline ?? trained
    guard float.manifest.datasetIdentity == trained.manifest.datasetIdentity else {
      throw Failure(.usage, "\(float.directory) was trained on other data than \(trained.directory)")
    }
    var models = [
      ("float", try predict(try readable { try float.state.floatModel(plan: float.plan) }))
    ]
    let calibration = trained.spec.comparison.calibration
    let quantized = try readable {
      try PostTraining.quantize(
        plan: float.plan, state: float.state, samples: dataset.train, calibration: calibration, threads: threads)
    }
    models.append(("INT8 PTQ \(calibration.method.rawValue)", try predict(quantized)))
    if trained.state.isQuantized {
      models.append((Self.qat, try predict(try readable { try trained.state.quantizedModel(plan: trained.plan) })))
    }
    self.models = models
    comparison = ModelComparison(
      models, classNames: trained.plan.data.classNames, rareClasses: trained.spec.data.rareClasses,
      trainCounts: dataset.manifest.train.classCounts)
  }

  static let qat = "INT8 QAT"

  /// Metrics of one column.
  func metrics(_ title: String) -> ClassificationMetrics? {
    comparison.columns.first { $0.title == title }?.metrics
  }

  /// One line per sample: label, predicted class of the float and the INT8 model, logits of the INT8 model.
  func write(to path: String) throws {
    guard let float = models.first?.predictions else { return }
    let int8 = models.last { $0.title == Self.qat }?.predictions
    let logits = int8 ?? float
    var text = "sample,label,float" + (int8 == nil ? "" : ",int8")
    for index in 0..<logits.classCount { text += ",logit\(index)" }
    text += "\n"
    let floatLabels = float.predictedLabels
    let int8Labels = int8?.predictedLabels
    for sample in 0..<float.sampleCount {
      text += "\(sample),\(float.labels[sample]),\(floatLabels[sample])"
      if let int8Labels { text += ",\(int8Labels[sample])" }
      let row = sample * logits.classCount
      for value in logits.logits[row..<row + logits.classCount] { text += ",\(value)" }
      text += "\n"
    }
    do {
      try Foundation.Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw Failure(
        .cannotCreate, "\(path): error: cannot be written", hint: "does the folder exist, is the disk full?")
    }
  }
}
