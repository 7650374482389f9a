// Requests that change no membership: files, checkpoints, lists, logs, watching.
import Communication
import Foundation
import JobSpec
import Logging
import RunStore

extension CoordinatorCore {
  func serve(_ body: WireEnvelope.OneOf_Body, from peer: PeerIdentity, request: UInt64) {
    switch body {
    case .fetchPiece(let message):
      step(.transferred(connection(of: peer)))
      reading.async { [files, server] in
        server.send(.answering(request, .filePiece(files.piece(message))), to: peer)
      }
    case .checkpointBegin(let message):
      let stamp = Stamp(job: JobID(message.job), generation: message.generation)
      guard admits(stamp, step: message.step, peer, request), let record = board.record(of: stamp.job) else { return }
      desk.begin(message, directory: directory.checkpoints(record), from: peer, request: request)
    case .filePiece(let message):
      step(.transferred(connection(of: peer)))
      desk.append(message, from: peer, request: request)
    case .checkpointCommit(let message):
      let stamp = Stamp(job: JobID(message.job), generation: message.generation)
      guard admits(stamp, step: message.step, peer, request) else { return }
      desk.commit(message, keep: specs[stamp.job]?.checkpoint.keep ?? 1, from: peer, request: request)
    case .logLines(let message): takeLog(message, from: peer, request: request)
    case .submitJob(let message): submit(message, from: peer, request: request)
    case .controlJob(let message): control(message, from: peer, request: request)
    case .drainWorkers(let message): step(.drain(expectAnswer(for: peer, request), name: message.name))
    case .listJobs:
      var list = WireJobList()
      list.jobs = board.jobIDs.compactMap(info)
      reply(.jobList(list), to: peer, request)
    case .listWorkers:
      var list = WireWorkerList()
      list.workers = board.workerViews(at: now).map(WireWorkerInfo.init)
      reply(.workerList(list), to: peer, request)
    case .listCheckpoints(let message): listCheckpoints(of: JobID(message.job), peer, request)
    case .fetchLogs(let message): fetchLogs(message, peer, request)
    case .watch(let message): watch(JobID(message.job), peer, request)
    case .probeEndpoint(let message): probe(message, peer, request)
    case .shutdown:
      logger.info("told to shut down")
      reply(.acknowledged(WireAcknowledged()), to: peer, request)
      stop()
    default: logger.warning("peer \(peer) sent a message that a coordinator does not take")
    }
  }

  /// Whether a checkpoint of this generation may be written; answers the request if not.
  private func admits(_ stamp: Stamp, step: UInt64, _ peer: PeerIdentity, _ request: UInt64) -> Bool {
    guard let reason = board.refusalOfCheckpoint(stamp) else { return true }
    reply(.checkpointResult(.refusing(stamp.job.rawValue, step, reason)), to: peer, request)
    return false
  }

  private func takeLog(_ message: WireLogLines, from peer: PeerIdentity, request: UInt64) {
    let connection = connection(of: peer)
    step(.transferred(connection))
    if let worker = board.worker(on: connection), let record = board.record(of: JobID(message.job)) {
      let gap = gaps.gap(before: message.first, of: worker.incarnation, record.id)
      let lines = (gap.map { [$0.text] } ?? []) + message.lines
      if JobJournal(directory: directory.job(record)).log(lines.map { "[\(worker.name)] \($0)" }) {
        gaps.wrote(message.first, count: message.lines.count, of: worker.incarnation, record.id)
      }
    }
    if request != 0 { reply(.acknowledged(WireAcknowledged()), to: peer, request) }
  }

  private func fetchLogs(_ message: WireFetchLogs, _ peer: PeerIdentity, _ request: UInt64) {
    var lines = WireLogLines()
    lines.job = message.job
    lines.next = message.from
    if let record = board.record(of: JobID(message.job)) {
      (lines.lines, lines.next) = JobJournal(directory: directory.job(record)).page(from: message.from)
    }
    reply(.logLines(lines), to: peer, request)
  }

  /// Connects back, off this thread: the asker wants to know whether it can be reached.
  private func probe(_ message: WireProbeEndpoint, _ peer: PeerIdentity, _ request: UInt64) {
    reading.async { [server] in
      var result = WireProbeResult()
      do {
        result.seconds = try TCPProbe.reach(message.endpoint, ports: TCPProbe.workerPorts)
      } catch {
        result.trouble = (error as? CommunicationError)?.message ?? "\(error)"
      }
      server.send(.answering(request, .probeResult(result)), to: peer)
    }
  }

  private func listCheckpoints(of job: JobID, _ peer: PeerIdentity, _ request: UInt64) {
    var list = WireCheckpointList()
    if let record = board.record(of: job), let known = try? store.checkpoints(of: job) {
      list.checkpoints = known.map { WireCheckpointInfo($0, directory: directory.checkpoints(record)) }
    }
    reply(.checkpointList(list), to: peer, request)
  }

  private func watch(_ job: JobID, _ peer: PeerIdentity, _ request: UInt64) {
    watchers[peer] = Watcher(job: job, request: request)
    tell(peer, job, request)
  }

  /// Sends every watcher what has changed since the last tick: at most ten events a second.
  func tellWatchers() {
    defer { changed.removeAll() }
    for (peer, watcher) in watchers where changed.contains(watcher.job) { tell(peer, watcher.job, watcher.request) }
  }

  private func tell(_ peer: PeerIdentity, _ job: JobID, _ request: UInt64) {
    var event = WireWatchEvent()
    if let info = info(job) {
      event.info = info
      event.over = board.record(of: job)?.state.isOver ?? true
    } else {
      event.info.job = job.rawValue
      event.log = "there is no \(job)"
      event.over = true
    }
    if event.over { watchers[peer] = nil }
    reply(.watchEvent(event), to: peer, request)
  }

  private func info(_ job: JobID) -> WireJobInfo? {
    guard var view = board.view(of: job, at: now) else { return nil }
    // The wall clock is the store's business.
    if view.record.submittedUnixSeconds == 0 || view.record.state.isOver && view.record.endedUnixSeconds == 0,
      let stored = try? store.job(job)
    {
      view.record.submittedUnixSeconds = stored.submittedUnixSeconds
      view.record.endedUnixSeconds = stored.endedUnixSeconds
    }
    return WireJobInfo(
      view, progress: progress[job], epochs: epochs[job] ?? [], directory: directory.job(view.record))
  }
}
