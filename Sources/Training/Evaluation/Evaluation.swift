// Running a model over a split, alone or shared by the members of a generation.
// A sample's logits do not depend on the batch it is in, so neither block sizes nor the number of members change a metric.

public import Data
public import JobSpec
public import Quantization

/// Logits of a deployed model.
public enum Evaluation {
  /// Runs a model over a whole split.
  ///
  /// - Parameters:
  ///   - model: float or int8.
  ///   - samples: the split.
  ///   - spec: the job, for normalization and batch size.
  ///   - threads: threads to compute with.
  /// - Throws: `DataError.unsuitable` when the normalization does not fit the images; `TrainingError.unsupported` for a graph
  ///   that the executor does not know.
  public static func predictions(
    of model: DeployedModel, on samples: SampleSet, spec: JobSpec, threads: Int
  ) throws -> Predictions {
    let logits = try logits(
      of: model, on: samples, range: 0..<samples.count, spec: spec, pool: ThreadPool(threadCount: threads))
    return Predictions(logits: logits, labels: samples.labels, classCount: model.classNames.count)
  }

  /// Runs a model over consecutive samples of a split, until `check`, asked before each batch, throws; returns [range.count, classes].
  static func logits(
    of model: DeployedModel, on samples: SampleSet, range: Range<Int>, spec: JobSpec, pool: ThreadPool,
    check: () throws -> Void = {}, progress: @escaping () -> Void = {}
  ) throws -> [Float] {
    let runner = try BatchRunner(model: model, samples: samples, spec: spec, pool: pool, progress: progress)
    var logits: [Float] = []
    logits.reserveCapacity(range.count * model.classNames.count)
    for start in stride(from: range.lowerBound, to: range.upperBound, by: runner.batchSize) {
      try check()
      logits += runner.run((start..<min(start + runner.batchSize, range.upperBound)).map(Int32.init))
    }
    return logits
  }

  /// The samples of a split that each rank evaluates: whole batches, spread evenly.
  static func ranges(sampleCount: Int, batchSize: Int, worldSize: Int) -> [Range<Int>] {
    let blocks = (sampleCount + batchSize - 1) / batchSize
    return (0..<worldSize).map { rank in
      let start = min(sampleCount, rank * blocks / worldSize * batchSize)
      return start..<min(sampleCount, (rank + 1) * blocks / worldSize * batchSize)
    }
  }
}
