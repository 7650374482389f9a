// Where checkpoints arrive and are read through: one background queue for all of it, so that a slow or full disk holds up
// neither steps nor decisions. One upload per job at a time: a new one throws the old one away.
import Checkpoint
import Communication
import Foundation
import RunStore

/// Takes in and verifies checkpoints in the background.
///
/// `@unchecked Sendable` because everything mutable is touched on `queue` only.
final class CheckpointDesk: @unchecked Sendable {
  /// What the server's thread is told.
  enum Report: Sendable {
    /// A checkpoint stands on disk; the worker waits for the answer until the store knows it too.
    case committed(CheckpointRecord, pruned: [UInt64], path: String, PeerIdentity, request: UInt64)
    /// A worker's checkpoint was not taken, and it has been told why.
    case refused(JobID, step: UInt64, reason: String)
    case verified(JobID, newest: CheckpointRecord?, damaged: [DamagedCheckpoint])
  }

  private let queue = DispatchQueue(label: "checkpoints", qos: .utility)
  private var uploads: [UInt64: (peer: PeerIdentity, intake: CheckpointIntake)] = [:]
  private let reply: @Sendable (WireEnvelope.OneOf_Body, PeerIdentity, UInt64) -> Void
  private let report: @Sendable (Report) -> Void

  /// - Parameters:
  ///   - reply: sends an answer to a request, from any thread.
  ///   - report: called on the queue.
  init(
    reply: @escaping @Sendable (WireEnvelope.OneOf_Body, PeerIdentity, UInt64) -> Void,
    report: @escaping @Sendable (Report) -> Void
  ) {
    self.reply = reply
    self.report = report
  }

  func begin(_ message: WireCheckpointBegin, directory: String, from peer: PeerIdentity, request: UInt64) {
    queue.async { [self] in
      uploads.removeValue(forKey: message.job)?.intake.abandon()
      do {
        uploads[message.job] = (peer, try CheckpointIntake(message, directory: directory))
        reply(.acknowledged(WireAcknowledged()), peer, request)
      } catch {
        refuse(message.job, message.step, error, peer, request)
      }
    }
  }

  func append(_ piece: WireFilePiece, from peer: PeerIdentity, request: UInt64) {
    queue.async { [self] in
      guard let (job, upload) = uploads.first(where: { $0.value.peer == peer }) else {
        reply(
          .checkpointResult(.refusing(0, 0, "no checkpoint was begun on this connection; begin it again")), peer,
          request)
        return
      }
      do {
        try upload.intake.append(piece)
        reply(.acknowledged(WireAcknowledged()), peer, request)
      } catch {
        uploads[job] = nil
        refuse(job, upload.intake.begin.step, error, peer, request)
      }
    }
  }

  func commit(_ message: WireCheckpointCommit, keep: Int, from peer: PeerIdentity, request: UInt64) {
    queue.async { [self] in
      guard let upload = uploads[message.job], upload.peer == peer, upload.intake.begin.step == message.step else {
        reply(
          .checkpointResult(
            .refusing(
              message.job, message.step, "no checkpoint of this step was begun on this connection; begin it again")
          ), peer, request)
        return
      }
      uploads[message.job] = nil
      do {
        let (record, pruned, path) = try upload.intake.commit(keep: keep)
        report(.committed(record, pruned: pruned, path: path, peer, request: request))
      } catch {
        refuse(message.job, message.step, error, peer, request)
      }
    }
  }

  /// The connection is gone: what it had begun is thrown away.
  func forget(_ peer: PeerIdentity) {
    queue.async { [self] in
      for (job, upload) in uploads where upload.peer == peer {
        upload.intake.abandon()
        uploads[job] = nil
      }
    }
  }

  /// Reads through a job's checkpoints until one verifies, and reports it.
  func verify(_ job: JobID, directory: String) {
    queue.async { [self] in
      let result = CheckpointStore(directory: directory).newest()
      let newest = result.found.map { CheckpointRecord($0.manifest, job: job, path: $0.path) }
      let steps = CheckpointStore(directory: directory).list().prefix(result.damaged.count).map(\.step)
      let damaged = zip(steps, result.damaged).map { DamagedCheckpoint(step: $0, problem: "\($1)") }
      report(.verified(job, newest: newest, damaged: damaged))
    }
  }

  /// Waits until everything that was asked for is done.
  func finish() { queue.sync {} }

  private func refuse(
    _ job: UInt64, _ step: UInt64, _ error: any Error, _ peer: PeerIdentity, _ request: UInt64
  ) {
    let reason = (error as? CheckpointIntake.Refusal)?.reason ?? "\(error)"
    report(.refused(JobID(job), step: step, reason: reason))
    reply(.checkpointResult(.refusing(job, step, reason)), peer, request)
  }

  /// What stands on disk of a job, by ascending step, none read through: for a starting coordinator.
  static func standing(_ job: JobID, directory: String) -> [CheckpointRecord] {
    CheckpointStore(directory: directory).list().reversed().compactMap { entry in
      (try? CheckpointReader.manifest(entry.path)).map { CheckpointRecord($0, job: job, path: entry.path) }
    }
  }

  /// Removes what a killed coordinator left half written.
  static func removeUnfinished(directory: String) { try? CheckpointStore(directory: directory).removeUnfinished() }
}

extension WireCheckpointResult {
  static func refusing(_ job: UInt64, _ step: UInt64, _ reason: String) -> WireCheckpointResult {
    var result = WireCheckpointResult()
    result.job = job
    result.step = step
    result.reason = reason
    return result
  }
}
