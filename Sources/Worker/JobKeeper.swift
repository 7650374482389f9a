// The jobs' memory over generations: the job at hand with its state, and the last dataset, which the next job may need again.
import Data
import Logging
import Training

/// Holds the current job's memory; used on the training thread only.
final class JobKeeper {
  private(set) var memory: JobMemory?
  private var dataset: (directory: String, content: InMemoryDataset)?
  private let services: WorkerServices

  init(_ services: WorkerServices) { self.services = services }

  /// The state held for a job, nil without one.
  func state(of job: UInt64) -> TrainingState? { memory?.job == job ? memory?.state : nil }

  /// The memory of the run's job, made when there is none: the dataset is fetched and the spec resolved.
  ///
  /// - Throws: `WorkerError`, `DataError`, `JobSpecErrors`, `TrainingError`.
  func recall(_ run: GenerationRun) throws -> JobMemory {
    let assignment = run.assignment
    return try recall(
      StandbyOrder(job: assignment.key.job, spec: assignment.spec, dataset: assignment.dataset), run.interruption)
  }

  /// The memory of a job that may be trained later.
  func recall(_ order: StandbyOrder, _ interruption: Interruption) throws -> JobMemory {
    if let memory, memory.job == order.job { return memory }
    memory = nil
    let made = try JobMemory(order, dataset: try fetch(order, interruption))
    memory = made
    return made
  }

  /// Forgets a job's plan and state; its data stays.
  func drop(job: UInt64) {
    if memory?.job == job { memory = nil }
  }

  private func fetch(_ order: StandbyOrder, _ interruption: Interruption) throws -> InMemoryDataset {
    let directory = order.dataset
    if let dataset, dataset.directory == directory { return dataset.content }
    dataset = nil
    services.board.activity = .loadingData
    let files = CoordinatorFiles(coordinator: services.coordinator)
    let start = ContinuousClock.now
    let content = try DatasetFetcher(files: files).fetch(directory, interruption)
    dataset = (directory, content)
    services.log.info(
      "job \(order.job): fetched \(content.train.count) training and \(content.test.count) test images in \(ContinuousClock.now - start)"
    )
    return content
  }
}
