// What a member keeps of a job from generation to generation: the plan, the data and the state.
import Data
import Graph
import JobSpec
import Training

/// One job in this worker's memory; owned by the training thread.
final class JobMemory {
  /// Number of the job.
  let job: UInt64
  /// The resolved spec as text; the manifest of a checkpoint carries its hash.
  let specification: String
  /// Where its data is in the coordinator's files.
  let datasetDirectory: String
  /// The data set, in memory.
  let dataset: InMemoryDataset
  /// The job resolved against the data set.
  let plan: JobPlan
  /// The training state, nil until the first synchronization.
  var state: TrainingState?
  /// Memory for a state, made while this worker stood by, so that joining needs no time for it.
  var spare: TrainingState?
  /// Where snapshots for checkpoints are taken.
  let snapshots = SnapshotSlot()
  /// Time that steps took, per epoch.
  var clock = EpochClock()
  /// Results of epochs evaluated here; a new rank 0 tells those that the one before may not have told.
  var results: [Int: EpochMetrics] = [:]

  /// Resolves a job's spec against its data set.
  ///
  /// - Throws: `JobSpecErrors` when this program does not understand the spec, `TrainingError` or `GraphError` when it cannot be run on the data.
  init(_ order: StandbyOrder, dataset: InMemoryDataset) throws {
    job = order.job
    specification = order.spec
    datasetDirectory = order.dataset
    self.dataset = dataset
    let spec = try JobSpec.parse(order.spec, file: "job \(order.job)")
    plan = try JobPlan(spec: spec, data: JobPlan.DataShape(dataset.manifest))
  }
}
