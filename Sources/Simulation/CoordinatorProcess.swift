// One coordinator process: the product's JobBoard, and a model of the shell around it (CoordinatorCore, CheckpointDesk). What it knows
// besides the disk dies with it.
import Coordinator
import RunStore

/// A coordinator from start to end.
final class CoordinatorProcess {
  /// One checkpoint on its way in; one per job, a new one throws the old one away.
  struct Upload {
    var connection: Int
    var offer: CheckpointOffer
  }

  var board: JobBoard
  var isFrozen = false
  var frozenSince: Int64 = 0
  /// What came while it was frozen.
  var deferred: [Occurrence] = []
  var uploads: [JobID: Upload] = [:]
  /// The background queue, each with the time that it takes; the first is at hand.
  var deskTasks: [(task: DeskTask, span: Int64)] = []
  /// What is missing in the logs of jobs.
  var gaps = LogGaps()

  init(board: JobBoard) { self.board = board }

  /// The connection is gone: what it had begun is thrown away.
  func forget(_ connection: Int) { uploads = uploads.filter { $0.value.connection != connection } }
}

/// Where a coordinator dies while it carries out a decision.
enum CrashPoint {
  /// Decided, not written.
  case beforeCommit
  /// Written, nothing sent.
  case afterCommit
  /// Written, some of it sent.
  case betweenMessages
}
