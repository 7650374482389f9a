// Questions to the coordinator that outlive its absences.
import Communication
import Foundation

/// One question to the coordinator and its answer; ControlClient in a process, a table in tests.
protocol CoordinatorRequests: Sendable {
  /// Sends `body` and waits for the reply; not to be called on the client's own thread.
  ///
  /// - Throws: `CommunicationError`: `refused` when the coordinator says no, others when no reply comes in time.
  func request(_ body: WireEnvelope.OneOf_Body, timeout: Duration) throws -> WireEnvelope.OneOf_Body?
}

extension ControlClient: CoordinatorRequests {
  func request(_ body: WireEnvelope.OneOf_Body, timeout: Duration) throws -> WireEnvelope.OneOf_Body? {
    var envelope = WireEnvelope()
    envelope.body = body
    return try request(envelope, timeout: timeout).body
  }
}

extension CoordinatorRequests {
  /// Asks until there is an answer, however often the coordinator goes away meanwhile.
  ///
  /// Only for questions that may be asked twice.
  /// - Throws: `CommunicationError` `refused`; `WorkerError` `interrupted` when the generation ends first.
  func requestUntilAnswered(
    _ body: WireEnvelope.OneOf_Body, _ interruption: Interruption
  ) throws -> WireEnvelope.OneOf_Body? {
    while true {
      try interruption.check()
      do {
        // A short wait: the end of the generation is noticed between two of them.
        return try request(body, timeout: .seconds(2))
      } catch let error as CommunicationError where error.code != .refused && error.code != .closed {
        Thread.sleep(forTimeInterval: 0.1)
      }
    }
  }
}
