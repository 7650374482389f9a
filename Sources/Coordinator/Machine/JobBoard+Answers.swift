// What else the shell asks the state machine: whether a report counted, and what the store must learn from the disk.
package import RunStore

extension JobBoard {
  /// Takes in an event whose sender wants to know that it counted.
  ///
  /// - Parameter job: what the event is about, if it is about a job.
  /// - Returns: what to do, as `step` does; and why the sender has to tell it again in the next generation, nil when it counted
  ///   or need not be told again because the job is over.
  package mutating func step(
    _ event: Event, of job: JobID?, at clock: Instant
  ) -> (effects: [Effect], refusal: String?) {
    let before = staleCount
    let effects = step(event, at: clock)
    guard staleCount > before, let job, let record = record(of: job), !record.state.isOver else {
      return (effects, nil)
    }
    return (effects, "this generation of \(job) is over")
  }

  /// What a starting coordinator writes before it reads its store: checkpoints on disk count, whatever the store says, because the
  /// coordinator before may have died between the two.
  package static func reconcile(
    _ job: JobID, known: [CheckpointRecord], standing: [CheckpointRecord]
  ) -> [StoreChange] {
    let gone = known.filter { old in !standing.contains { $0.step == old.step } }
    return gone.map { .checkpointRemoved(job, step: $0.step) } + standing.map { .checkpoint($0) }
  }
}
