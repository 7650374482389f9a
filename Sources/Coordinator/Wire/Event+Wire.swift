// Control messages of workers -> events of the state machine. Files in the coordinator's name space are written as
// FileService reads them.
import Communication
import RunStore

extension Stamp {
  /// nil for the zeros of an idle worker.
  init?(job: UInt64, generation: UInt64) {
    guard job != 0, generation != 0 else { return nil }
    self.init(job: JobID(job), generation: generation)
  }
}

extension Event {
  /// The event that a worker's message means, nil for messages that are not about membership.
  init?(_ body: WireEnvelope.OneOf_Body, from connection: ConnectionID) {
    switch body {
    case .workerHello(let message): self = .hello(connection, Introduction(message))
    case .heartbeat(let message):
      self = .pulse(
        connection,
        Pulse(
          stamp: Stamp(job: message.job, generation: message.generation), committedStep: message.committedStep,
          phase: message.phase, residentBytes: message.residentBytes,
          shardTime: message.shardMicroseconds == 0
            ? nil : .microseconds(Int64(clamping: min(message.shardMicroseconds, 3_600_000_000)))))
    case .memberPosition(let message):
      self = .position(
        connection, Stamp(job: JobID(message.job), generation: message.generation), hasState: message.hasState_p,
        committedStep: message.committedStep)
    case .memberReady(let message):
      self = .ready(
        connection, Stamp(job: JobID(message.job), generation: message.generation), step: message.step)
    case .peerLost(let message):
      self = .peerLost(
        connection, Stamp(job: JobID(message.job), generation: message.generation), rank: Int(message.rank),
        evidence: message.evidence)
    case .memberStopped(let message):
      self = .stopped(
        connection, Stamp(job: JobID(message.job), generation: message.generation), step: message.step)
    case .standbyReady(let message): self = .standbyReady(connection, JobID(message.job))
    case .stepProgress(let message):
      self = .stepped(
        connection, Stamp(job: JobID(message.job), generation: message.generation), step: message.step)
    case .epochResult(let message):
      self = .epoch(
        connection, Stamp(job: JobID(message.job), generation: message.generation), EpochRecord(message))
    case .leave(let message): self = .leave(connection, reason: message.reason)
    case .jobFinished(let message):
      self = .finished(
        connection, Stamp(job: JobID(message.job), generation: message.generation), step: message.step,
        sha256: message.sha256, json: message.json)
    case .jobFailed(let message):
      self = .failed(
        connection, Stamp(job: JobID(message.job), generation: message.generation), message: message.message,
        hint: message.hint)
    default: return nil
    }
  }
}

extension Introduction {
  init(_ message: WireWorkerHello) {
    self.init(
      worker: WorkerRecord(
        id: WorkerID(0), incarnation: message.incarnation, name: message.name, host: message.host,
        threads: message.threads, instructionSet: message.instructionSet, version: message.version,
        processIdentifier: message.processIdentifier, dataEndpoint: message.dataEndpoint,
        ipcEndpoint: message.ipcEndpoint),
      stamp: Stamp(job: message.job, generation: message.generation), committedStep: message.committedStep)
  }
}

extension EpochRecord {
  init(_ message: WireEpochResult) {
    self.init(
      job: JobID(message.job), epoch: message.epoch, step: message.step, generation: message.generation,
      json: message.json, seconds: message.seconds, imagesPerSecond: message.imagesPerSecond)
  }
}
