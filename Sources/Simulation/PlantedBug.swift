// Bugs of the protocol that a world can be told to have, so that tests show that its checks find them. Each is made outside the state
// machines: in what the shell around them would do, to messages, effects, files or the store. Product code holds no switch.

/// A mistake that somebody could make in the shells, the transport, the store or a worker's memory.
package enum PlantedBug: String, CaseIterable, Sendable {
  /// The members' links take frames of any generation.
  case meshWithoutFence
  /// The coordinator's side takes statements about an old generation as if they were about the current one (stale quorum).
  case staleQuorum
  /// A step that is interrupted leaves its update in the state, and is made again.
  case doubleCommit
  /// The order to start training is lost for one member now and then.
  case lostWakeUp
  /// Messages leave before the decision is in the store.
  case sendBeforeCommit
  /// The store says that it has written the newest decision before it has (synchronous = NORMAL).
  case forgetfulStore
  /// A checkpoint is given its name before its files are on the disk.
  case renameBeforeSync
  /// Old checkpoints are removed when a new one begins to arrive.
  case pruneTooEarly
  /// A worker reports the same lost peer again in each following generation (dlrover PR#1749: evidence that outlives its generation).
  case staleEvidence
  /// A status request that takes longer than 300 ms counts as a dead worker (skypilot#10155).
  case statusTimeout
  /// Members that need the state are sent to rank 0, who serves whatever it has.
  case wrongSource
  /// A worker forgets its state at the end of each generation.
  case amnesia
  /// A worker reports a step as committed while it is still being made.
  case commitAhead
  /// The coordinator admits checkpoints without looking at their generation.
  case checkpointWithoutFence
  /// A repeated submission loses its key.
  case keyDropped
  /// A member works with the shard range that it had in the generation before.
  case staleShards
  /// Rank 0 reports the end of the job before its last checkpoint is stored.
  case finishBeforeCheckpoint
  /// The time that the coordinator itself was frozen counts against the workers.
  case frozenClock
  /// A restart is never paid for: workers report progress that is none.
  case restartLoop
  /// The coordinator hangs up on a revoked worker's words and forgets to take it out of its generation.
  case revokedStays
  /// A member that is told to save before it stops does not.
  case pauseWithoutCheckpoint
  /// What a job has been asked to do is not written down.
  case intentDropped
  /// The coordinator's endpoint takes connections without keys.
  case openDoor
  /// Members take frames that were not sealed with the keys of their generation.
  case openMesh
  /// A worker counts the lines of its log anew on each connection.
  case linesRenumbered
  /// A line that the disk did not take counts as written.
  case unwrittenCounted
  /// A worker that is told to save finishes its evaluation first.
  case evaluationFirst
  /// The desk tells of the newest checkpoint that the store listed when it was asked, not of what stands on disk by then.
  case staleListing
}
