// A decision of the coordinator, as it is written down. Decisions are values so that the state machines can make them
// without touching a file; `RunStore.apply` commits all changes of one decision in one transaction.

/// One change of what the coordinator remembers.
public enum StoreChange: Sendable, Hashable {
  /// A new job.
  case submitted(JobRecord)
  /// The job's data set stands under `data/`; empty when it has to be made again.
  case dataset(JobID, String)
  /// The visible state and its reason; an over state also stamps the end.
  case state(JobID, JobState, reason: String)
  /// What the job has been asked to do; nil when it is done or given up.
  case intent(JobID, JobIntent?)
  /// What the job came to; together with `.state(_, .finished, ...)`.
  case result(JobID, sha256: String, json: String)
  /// A worker introduced itself.
  case worker(WorkerRecord)
  /// A generation was decided; its number becomes the job's newest.
  case generationBegan(GenerationRecord)
  /// Its members were told to start.
  case generationStarted(JobID, UInt64)
  /// It is over.
  case generationEnded(JobID, UInt64, reason: String)
  /// A checkpoint stands complete on disk; a checkpoint of the same step is replaced.
  case checkpoint(CheckpointRecord)
  /// A checkpoint was pruned or found damaged.
  case checkpointRemoved(JobID, step: UInt64)
  /// Metrics of an epoch; those of the same epoch are replaced (they are the same numbers).
  case epoch(EpochRecord)
}
