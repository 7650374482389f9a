// Who is at the other end of each connection, and what that allows. Docs/Decisions/0014 holds the table.
import Communication
import Foundation
import JobSpec

/// Knows the principals of connections; used by the server's thread.
final class Doorkeeper {
  /// A refusal as an error.
  struct Refusal: Error {
    var message: WireRefused
  }

  private let keys: KeyKeeper?
  private let roots: PathRoots
  private var principals: [PeerIdentity: Principal] = [:]

  /// - Parameters:
  ///   - keys: nil when no endpoint takes keys.
  ///   - roots: folders below which jobs of the network may name files.
  init(keys: KeyKeeper?, roots: [String]) {
    self.keys = keys
    self.roots = PathRoots(roots)
  }

  func introduce(_ peer: PeerIdentity, _ principal: Principal) { principals[peer] = principal }
  func forget(_ peer: PeerIdentity) { principals[peer] = nil }

  /// Why a peer may not send this, nil if it may.
  func refusal(of body: WireEnvelope.OneOf_Body, from peer: PeerIdentity) -> WireRefused? {
    guard let principal = principals[peer] else {
      return .denying("a connection that was never introduced may not speak", remedy: "connect again")
    }
    let isAllowed: Bool
    switch principal.role {
    case .sameUser, .anyone: isAllowed = !body.isEnrollment
    case .enrolled(.worker): isAllowed = body.isWorkers || body.isProbe
    case .enrolled(.operator): isAllowed = !body.isWorkers && !body.isEnrollment
    case .enrolled(.coordinator): isAllowed = false
    case .token: isAllowed = body.isEnrollment
    }
    guard !isAllowed else { return nil }
    var envelope = WireEnvelope()
    envelope.body = body
    return .denying(
      "\(principal) may not send \(ControlFrame.name(of: envelope))",
      remedy: body.isWorkers ? "use a key enrolled with --role worker" : "use a key enrolled with --role operator")
  }

  /// Why a job of a peer may not name these files, nil if it may.
  func problem(of spec: JobSpec, weights: String, checkpoint: String, from peer: PeerIdentity) -> String? {
    // A process of the same user can read whatever the coordinator can.
    guard principals[peer]?.role != .sameUser else { return nil }
    var named: [(key: String, path: String)] = []
    switch spec.data.source {
    case .idx: named.append(("data.idx.directory", spec.data.idx.directory))
    case .store: named.append(("data.store.directory", spec.data.store.directory))
    case .strip: break
    }
    if !weights.isEmpty { named.append(("model.initialize", weights)) }
    if !checkpoint.isEmpty { named.append(("--from", checkpoint)) }
    for (key, path) in named where !roots.contain(path) {
      return "\(key): error: '\(path)' is not below a folder that this coordinator opens to jobs\n"
        + "  hint: \(roots.hint)"
    }
    return nil
  }

  /// What became of the keys since the last look.
  func refresh() -> (dismissed: [(peer: PeerIdentity, key: String)], problem: String?) {
    do {
      guard let gone = try keys?.refresh(), !gone.isEmpty else { return ([], nil) }
      let dismissed = principals.filter { $0.value.key.map(gone.contains) ?? false }
      for peer in dismissed.keys { principals[peer] = nil }
      return (dismissed.map { ($0.key, $0.value.name) }.sorted { $0.1 < $1.1 }, nil)
    } catch {
      return ([], "\(error)")
    }
  }

  /// Enrolls the key of a machine that holds a token.
  func enroll(_ message: WireEnroll, from peer: PeerIdentity) -> Result<WireEnrolled, Refusal> {
    guard let keys, let token = principals[peer]?.key, let key = CurvePublicKey(message.publicKey) else {
      let problem = "a public key has \(CurvePublicKey.byteCount) bytes, not \(message.publicKey.count)"
      return .failure(Refusal(message: .denying(problem, remedy: "use programs of one version")))
    }
    do {
      let entry = try keys.redeem(token: token, for: key)
      var enrolled = WireEnrolled()
      enrolled.name = entry.name
      enrolled.role = entry.role.rawValue
      return .success(enrolled)
    } catch {
      let cause = error as? CommunicationError
      return .failure(Refusal(message: .denying(cause?.message ?? "\(error)", remedy: cause?.hint ?? "")))
    }
  }
}

extension WireRefused {
  fileprivate static func denying(_ reason: String, remedy: String) -> WireRefused {
    var refusal = WireRefused()
    refusal.reason = reason
    refusal.remedy = remedy
    refusal.exitCode = 77
    return refusal
  }
}

extension WireEnvelope.OneOf_Body {
  /// Whether it is a message of workers; everything else but enrollment is an operator's.
  fileprivate var isWorkers: Bool {
    switch self {
    case .workerHello, .heartbeat, .memberPosition, .memberReady, .memberStopped, .standbyReady, .peerLost,
      .stepProgress, .epochResult, .leave, .jobFinished, .jobFailed, .logLines, .checkpointBegin, .filePiece,
      .checkpointCommit, .fetchPiece:
      true
    default: false
    }
  }

  /// `temper doctor` asks it with either key.
  fileprivate var isProbe: Bool { if case .probeEndpoint = self { true } else { false } }

  fileprivate var isEnrollment: Bool { if case .enroll = self { true } else { false } }
}
