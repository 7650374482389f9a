// Post-training quantization: the float model, int8 weights from its own ranges, activation scales from a calibration set.

public import Data
import Graph
public import JobSpec
public import Quantization

/// Quantizes trained float models without further training.
public enum PostTraining {
  /// Calibrates and quantizes the float model of a state.
  ///
  /// Histograms of every activation that gets Q/DQ are gathered over calibration images of the training split, without
  /// augmentation; integer counts, so the result does not depend on batches or threads.
  ///
  /// - Parameters:
  ///   - plan: the job.
  ///   - state: trained in float; its moving average where the job has one.
  ///   - samples: the training split.
  ///   - calibration: how many images, which mix of classes, which rule.
  ///   - threads: threads to compute with.
  /// - Throws: `QuantizationError.noData` when an activation was never finite; `DataError.unsuitable` for more calibration images
  ///   than the split has.
  public static func quantize(
    plan: JobPlan, state: TrainingState, samples: SampleSet, calibration: JobSpec.Calibration, threads: Int
  ) throws -> DeployedModel {
    let float = try state.floatModel(plan: plan)
    let sources = try calibratedNodes(plan)
    let histograms = try histograms(
      of: float, nodes: Set(sources.values), on: samples, indices: try indices(plan, samples, calibration),
      spec: plan.spec, threads: threads)
    let method = CalibrationMethod(calibration)
    let scales = try sources.mapValues { source in
      let absMax = try method.absMax(of: histograms[source] ?? AbsHistogram(), range: plan.activationRange)
      return QuantizationParameters.scale(forAbsMax: absMax, limit: plan.activationRange.limit)
    }
    return try DeployedModel(
      graph: plan.placedGraph, tensors: state.evaluatedTensors(), activationScales: scales,
      classNames: plan.data.classNames, normalization: plan.normalization)
  }

  /// The node whose value each fakeQuantize node rounds, by its name, in the folded graph.
  private static func calibratedNodes(_ plan: JobPlan) throws -> [String: String] {
    let folded = try plan.placedGraph.foldingBatchNorm()
    return Dictionary(
      uniqueKeysWithValues: folded.fakeQuantizeNodes.map { ($0.name, folded[$0.inputs[0]].name) })
  }

  /// Training samples to calibrate on: a random part in the natural mix, or the same number of every class.
  private static func indices(
    _ plan: JobPlan, _ samples: SampleSet, _ calibration: JobSpec.Calibration
  ) throws -> [Int32] {
    var sampling = JobSpec.Sampling()
    sampling.method = calibration.mix == .natural ? .natural : .balanced
    let sampler = try Sampler(
      labels: samples.labels, classNames: plan.data.classNames, sampling: sampling, batchSize: calibration.images,
      seed: plan.spec.seed)
    var indices = [Int32](repeating: 0, count: calibration.images)
    indices.withUnsafeMutableBufferPointer { sampler.fill(epoch: 1, step: 0, into: $0) }
    return indices
  }

  private static func histograms(
    of model: DeployedModel, nodes: Set<String>, on samples: SampleSet, indices: [Int32], spec: JobSpec, threads: Int
  ) throws -> [String: AbsHistogram] {
    let runner = try BatchRunner(
      model: model, samples: samples, spec: spec, pool: ThreadPool(threadCount: threads))
    var histograms: [String: AbsHistogram] = [:]
    for start in stride(from: 0, to: indices.count, by: runner.batchSize) {
      let batch = Array(indices[start..<min(start + runner.batchSize, indices.count)])
      runner.run(batch) { node, values in
        if nodes.contains(node) { histograms[node, default: AbsHistogram()].add(values) }
      }
    }
    return histograms
  }
}

extension CalibrationMethod {
  /// The rule a job names.
  init(_ calibration: JobSpec.Calibration) {
    switch calibration.method {
    case .entropy: self = .entropy
    case .percentile: self = .percentile(calibration.percentile)
    case .mse: self = .meanSquaredError
    case .max: self = .max
    }
  }
}
