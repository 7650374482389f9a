// What the training thread works with, besides its own memory.
import Communication
import Logging

/// The rest of the worker, as the training thread sees it.
struct WorkerServices: Sendable {
  /// Questions to the coordinator.
  let coordinator: any CoordinatorRequests
  /// Tells the coordinator something it may miss.
  let tell: @Sendable (WireEnvelope) -> Void
  /// The links to the other members.
  let mesh: PeerMesh
  /// What is owed to the coordinator.
  let outbox: Outbox
  /// Where progress is noted.
  let board: ProgressBoard
  /// Threads that compute.
  let threads: Int
  /// The log.
  let log: Logger
}
