// A log handler that also shows what went wrong here in the job's log at the coordinator (`temper logs`).
import Communication
import Logging
import Synchronization

/// Passes every line on to a handler, and lines of at least `warning` to the coordinator.
struct ForwardingLogHandler: LogHandler {
  private var base: any LogHandler
  private let forward: @Sendable (String) -> Void

  /// - Parameter forward: called with "warning text"; must not wait and must not log.
  init(_ base: any LogHandler, forward: @escaping @Sendable (String) -> Void) {
    self.base = base
    self.forward = forward
  }

  var metadata: Logger.Metadata {
    get { base.metadata }
    set { base.metadata = newValue }
  }

  var logLevel: Logger.Level {
    get { base.logLevel }
    set { base.logLevel = newValue }
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { base[metadataKey: key] }
    set { base[metadataKey: key] = newValue }
  }

  func log(event: LogEvent) {
    base.log(event: event)
    if event.level >= .warning { forward("\(event.level) \(event.message)") }
  }
}

/// Where forwarded lines go: the log of the job at hand, while there is one.
final class LogForwarding: Sendable {
  private let target = Mutex<(client: ControlClient?, job: UInt64?)>((nil, nil))

  /// From now on there is a connection.
  func open(_ client: ControlClient) { target.withLock { $0.client = client } }

  /// The job that lines belong to; nil for none.
  func enter(job: UInt64?) { target.withLock { $0.job = job } }

  /// Sends a line; it is lost while the coordinator is away.
  func send(_ line: String) {
    let (client, job) = target.withLock { $0 }
    guard let client, let job else { return }
    var envelope = WireEnvelope()
    envelope.logLines.job = job
    envelope.logLines.lines = [line]
    client.send(envelope)
  }
}
