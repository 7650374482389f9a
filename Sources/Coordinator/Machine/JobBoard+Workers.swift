// Who is there: hello, signs of life, leaving, loss.
import RunStore

extension JobBoard {
  mutating func hello(_ connection: ConnectionID, _ introduction: Introduction, at now: Instant) {
    var record = introduction.worker
    if !programVersion.isEmpty, record.version != programVersion {
      let reason = "worker '\(record.name)' is version \(record.version), the coordinator \(programVersion)"
      log(nil, .warning, "refused: \(reason)")
      let remedy = "install version \(programVersion) on the worker; other versions may compute other bits"
      emit(.send(connection, .refused(reason: reason, remedy: remedy, exitCode: 78)))
      return
    }
    let known = workers.indices.first { workers[at: $0].record.incarnation == record.incarnation }
      .map { (id: workers.keys[$0], worker: workers[at: $0]) }
    if case .leaving = known?.worker.status { return }
    if known == nil { lastWorker += 1 }
    record.id = known?.id ?? WorkerID(lastWorker)
    var worker = known?.worker ?? Worker(record: record, connection: nil, status: .idle(since: now), lastHeard: now)
    if let old = worker.connection, old != connection { connections[old] = nil }
    if worker.record != record || known == nil {
      persist(.worker(record))
      log(
        nil, .info,
        "\(record.id) is \(record.name): \(record.threads) threads, \(record.instructionSet), process \(record.processIdentifier)"
      )
    }
    worker.record = record
    worker.connection = connection
    worker.lastHeard = now
    worker.pulse.stamp = introduction.stamp
    worker.pulse.committedStep = introduction.committedStep
    workers[record.id] = worker
    connections[connection] = record.id
    send(.welcome(record.id), to: record.id)
    if worker.isDraining { send(.drain(reason: "drained"), to: record.id) }
    place(record.id, introduction, at: now)
  }

  /// Decides where a worker that has introduced itself stands.
  private mutating func place(_ id: WorkerID, _ introduction: Introduction, at now: Instant) {
    if let stamp = introduction.stamp {
      if returned(id, to: stamp, step: introduction.committedStep, at: now) { return }
      if case .generation(let membership) = stage(of: stamp.job), membership.stamp == stamp,
        membership.phase == .training, membership.rank(of: id) != nil
      {
        // A new connection of a member that never stopped stepping.
        workers[id]?.status = .assigned(stamp.job)
        if let boundary = membership.boundary {
          send(.stop(stamp, step: boundary.step, saves: boundary.saves), to: id)
        }
        return
      }
    }
    for (job, record) in recoveries where record.members.contains(where: { $0.worker == id }) {
      endRecovery(of: job, reason: "\(id) came back without its work")
    }
    withdraw(id, reason: "\(id) connected anew without its work", counts: true, at: now)
    workers[id]?.status = .idle(since: now)
    if let stamp = introduction.stamp { dismiss(id, from: stamp) }
  }

  /// Tells a worker that what it works on is over; it keeps its state only if that can be one of ours.
  private mutating func dismiss(_ id: WorkerID, from stamp: Stamp) {
    let reason: String
    let dropsState: Bool
    if let job = jobs[stamp.job], let worker = workers[id], job.alumni.contains(worker.record.incarnation) {
      dropsState = job.record.state.isOver
      reason = dropsState ? "\(stamp.job) is \(job.record.state.rawValue)" : "\(stamp) is over"
    } else {
      // The job of another coordinator, or of another directory: the number says nothing here.
      dropsState = true
      reason = "this coordinator never gave \(stamp) to this worker"
    }
    send(.end(stamp, reason: reason, jobOver: dropsState), to: id)
  }

  /// The worker behind a connection, noted as heard; strangers, who have yet to say hello, are counted and ignored.
  mutating func heard(_ connection: ConnectionID, at now: Instant) -> WorkerID? {
    guard let id = connections[connection], let row = workers.index(of: id) else {
      staleCount += 1
      return nil
    }
    workers[at: row].lastHeard = now
    if case .silent(let stamp) = workers[at: row].status {
      workers[at: row].status = .idle(since: now)
      log(nil, .info, "\(id) is back")
      if let stamp { dismiss(id, from: stamp) }
    }
    absolve(id)
    return id
  }

  mutating func pulse(_ connection: ConnectionID, _ pulse: Pulse, at now: Instant) {
    guard let id = heard(connection, at: now), let row = workers.index(of: id) else { return }
    note(pulse, ofRow: row, at: now)
  }

  /// Takes in what a sign of life says.
  mutating func note(_ pulse: Pulse, ofRow row: Int, at now: Instant) {
    workers[at: row].pulse = pulse
    let id = workers.keys[row]
    guard let stamp = pulse.stamp, let job = jobs.index(of: stamp.job),
      case .generation(let membership) = jobs[at: job].stage, membership.stamp == stamp,
      let rank = membership.rank(of: id)
    else { return }
    if let time = pulse.shardTime { jobs[at: job].shardTimes[id] = time }
    if membership.isNews(rank, step: pulse.committedStep, activity: pulse.phase) {
      progress(of: rank, stamp, step: pulse.committedStep, activity: pulse.phase, at: now)
    }
  }

  mutating func transferred(_ connection: ConnectionID, at now: Instant) {
    guard let id = heard(connection, at: now), case .assigned(let job) = status(of: id) else { return }
    changeGeneration(of: job) { membership in
      if let rank = membership.rank(of: id) { membership.transferred(rank, at: now) }
    }
  }

  mutating func drain(_ request: RequestID, _ name: String) {
    let chosen = workers.values.filter { worker in
      if case .leaving = worker.status { return false }
      return worker.connection != nil && (worker.record.name == name || "\(worker.record.id.rawValue)" == name)
    }.map(\.record).sorted { $0.id < $1.id }
    for record in chosen {
      workers[record.id]?.isDraining = true
      log(nil, .info, "\(record.id) (\(record.name)) is drained")
      send(.drain(reason: "drained"), to: record.id)
    }
    emit(.answer(request, .drained(chosen.map(\.name))))
  }

  mutating func leave(_ connection: ConnectionID, reason: String, at now: Instant) {
    guard let id = heard(connection, at: now) else { return }
    log(nil, .info, "\(id) leaves: \(reason)")
    workers[id]?.status = .leaving
    withdraw(id, reason: "\(id) leaves: \(reason)", counts: false, at: now)
  }

  mutating func disconnected(_ connection: ConnectionID, at now: Instant) {
    guard let id = connections.removeValue(forKey: connection) else { return }
    if case .leaving = status(of: id) {
      workers[id] = nil
      return
    }
    workers[id]?.connection = nil
    if wasAway(at: now), case .assigned(let job) = status(of: id),
      case .generation(let membership) = stage(of: job),
      membership.phase == .training
    {
      // It gave us up, not its work: a closed connection is no evidence against it before it had time to return.
      workers[id]?.status = .absent
      workers[id]?.lastHeard = now
      log(
        nil, .info,
        "\(id): connection closed while the coordinator was away; it has \(limits.recovery.spoken) to return")
      return
    }
    lose(id, evidence: "connection closed", at: now)
  }

  /// Loses a member of a running generation that did not return.
  mutating func watchAbsent(_ id: WorkerID, _ worker: Worker, at now: Instant) {
    guard worker.status == .absent, now - worker.lastHeard > limits.recovery,
      !recoveries.contains(where: { $0.1.members.contains { $0.worker == id } })
    else { return }
    lose(id, evidence: "did not return within \(limits.recovery.spoken)", at: now)
  }

  /// A worker is gone (no connection) or does not answer (connection open): its generation ends.
  mutating func lose(_ id: WorkerID, evidence: String, at now: Instant) {
    guard let worker = workers[id] else { return }
    log(nil, .warning, "\(id) (\(worker.record.name)) lost: \(evidence)")
    let work = stamp(of: worker)
    if worker.connection == nil { workers[id] = nil } else { workers[id]?.status = .silent(work) }
    withdraw(id, reason: "\(id) lost: \(evidence)", counts: true, at: now)
  }

  /// A worker is alive but does not do what it must: it is told to end, so that whoever started it starts it again.
  mutating func evict(_ id: WorkerID, evidence: String, at now: Instant) {
    let reason = "\(id) hangs: \(evidence)"
    log(nil, .error, reason)
    send(
      .refused(
        reason: reason, remedy: "restart the worker; its log shows what it was doing", exitCode: 70), to: id)
    workers[id]?.status = .leaving
    withdraw(id, reason: reason, counts: true, at: now)
  }

  /// Somebody revoked a worker's key: it is told to end, and its generation goes on without it, under other keys.
  mutating func revoked(_ connection: ConnectionID, key: String, at now: Instant) {
    guard let id = connections[connection] else { return }
    let reason = "the key of \(id), \(key), was revoked"
    log(nil, .warning, reason)
    send(.refused(reason: reason, remedy: "enroll a new key if it shall come back", exitCode: 77), to: id)
    let awaiting = recoveries.filter { $0.1.members.contains { $0.worker == id } }.map(\.0)
    workers[id]?.status = .leaving
    withdraw(id, reason: reason, counts: false, at: now)
    for job in awaiting { endRecovery(of: job, reason: reason) }
  }

  private var recoveries: [(JobID, GenerationRecord)] {
    jobs.indices.compactMap {
      if case .recovering(let recovery) = jobs[at: $0].stage { (jobs.keys[$0], recovery.record) } else { nil }
    }
  }

  /// What a worker works on by the books.
  private func stamp(of worker: Worker) -> Stamp? {
    guard case .assigned(let job) = worker.status, let record = jobs[job]?.record else { return nil }
    return Stamp(job: job, generation: record.generation)
  }
}
