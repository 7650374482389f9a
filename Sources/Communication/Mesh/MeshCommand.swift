// What other threads ask of the mesh thread.

enum MeshCommand: Sendable {
  case form(MeshMembership, Gate)
  case giveUpForming(Gate, after: Duration)
  case end(job: UInt64, generation: UInt64, reason: String)
  /// Begins a collective operation of the current generation; the operation is the mesh thread's until its gate opens.
  case begin(any CollectiveOperation)
  case submit(ReduceOperation, bucket: Int)
  case submitMaxima(ReduceOperation)
  case serve(StateProvider)
  case fetch(StateFetch)
  case giveUpFetching(StateFetch, after: Duration)

  static let closedError = CommunicationError(.closed, "the mesh was closed by this program")

  /// Who waits for the outcome, if anybody.
  var gate: Gate? {
    switch self {
    case .form(_, let gate), .giveUpForming(let gate, _): gate
    case .begin(let operation): operation.gate
    case .fetch(let fetch), .giveUpFetching(let fetch, _): fetch.gate
    case .end, .submit, .submitMaxima, .serve: nil
    }
  }
}

/// Serializes the state at a step for a newcomer; called on the mesh thread, at most once per generation and step.
public typealias StateProvider = @Sendable (_ step: UInt64) throws -> [UInt8]

/// One collective operation: every rank begins the same ones in the same order.
///
/// Used by the caller before `begin` and by the mesh thread from then until the gate opens.
protocol CollectiveOperation: AnyObject, Sendable {
  var gate: Gate { get }
  var job: UInt64 { get }
  var generation: UInt64 { get }
  /// Whether everything is received and sent.
  var isComplete: Bool { get }

  /// Starts; `sequence` is the operation's number within the generation.
  func begin(sequence: UInt32, on engine: MeshEngine) throws
  /// Takes a frame of this operation; the operation releases it.
  func receive(_ frame: Frame, on engine: MeshEngine) throws
  /// Gives up; releases the frames it holds.
  func abandon(on engine: MeshEngine)
}
