// A whole job in one process, without a cluster.

public import Data
public import Graph
public import JobSpec

/// Trains a job in this process.
public enum LocalTraining {
  /// What training tells while it runs.
  public enum Progress: Sendable {
    /// A step was committed.
    case step(StepReport)
    /// The test split was evaluated.
    case epoch(EpochMetrics)
  }

  /// A finished job.
  public struct Outcome: Sendable {
    /// The job.
    public let plan: JobPlan
    /// Its final state.
    public let state: TrainingState
    /// The evaluation after the last epoch.
    public let metrics: EpochMetrics
  }

  /// Trains all epochs of a job.
  ///
  /// - Parameters:
  ///   - spec: the job.
  ///   - dataset: its data.
  ///   - initialWeights: a torchvision state dict to start from; random weights when `nil`.
  ///   - threads: threads to compute with; the result does not depend on it.
  ///   - progress: called on this thread after every step and evaluation.
  /// - Throws: `TrainingError`, `DataError` or `GraphError` when job and data do not fit, `TrainingError.diverged` when training fails.
  public static func fit(
    spec: JobSpec, dataset: InMemoryDataset, initialWeights: [NamedTensor]? = nil, threads: Int,
    progress: (Progress) -> Void = { _ in }
  ) throws -> Outcome {
    let plan = try JobPlan(spec: spec, data: JobPlan.DataShape(dataset.manifest))
    let state = try TrainingState.initial(plan: plan, initialWeights: initialWeights)
    let reducer = LocalReducer(plan: plan.reduction)
    let trainer = try Trainer(
      plan: plan, state: state, dataset: dataset, ranges: [0..<spec.training.virtualShards], rank: 0, threads: threads)
    var metrics: EpochMetrics?
    while state.committedStep < plan.totalSteps {
      let report = try trainer.step(reducer)
      progress(.step(report))
      if report.endsEpoch, plan.evaluates(afterEpoch: report.epoch) {
        let evaluated = try trainer.evaluate(reducer)
        progress(.epoch(evaluated))
        metrics = evaluated
      }
    }
    return Outcome(plan: plan, state: state, metrics: try metrics ?? trainer.evaluate(reducer))
  }
}
