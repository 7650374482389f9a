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
  private struct Target {
    var tell: (@Sendable (WireEnvelope) -> Void)?
    var job: UInt64?
    /// Lines so far, by job: numbers are given out whether a line arrives or not, so that the coordinator sees what is missing.
    var counts: [UInt64: UInt64] = [:]
  }

  private let target = Mutex(Target())

  /// From now on there is somebody to tell; `tell` must not wait and must not log.
  func open(_ tell: @escaping @Sendable (WireEnvelope) -> Void) { target.withLock { $0.tell = tell } }

  /// The job that lines belong to; nil for none.
  func enter(job: UInt64?) { target.withLock { $0.job = job } }

  /// Sends a line; while the coordinator is away it is lost, and counted there when the next one arrives (LogGaps).
  func send(_ line: String) {
    target.withLock { target in
      guard let job = target.job else { return }
      let number = target.counts[job, default: 0] + 1
      target.counts[job] = number
      var envelope = WireEnvelope()
      envelope.logLines.job = job
      envelope.logLines.lines = [line]
      envelope.logLines.first = number
      // Under the lock, so that lines leave in the order of their numbers.
      target.tell?(envelope)
    }
  }
}
