// Who is at the other end of a link, and what that allows. See Docs/Decisions/0014-keys.md for the threat model.

import Synchronization

/// What a key may be used for.
public enum KeyRole: String, Sendable, Hashable, Codable, CaseIterable {
  /// The coordinator's own key; clients know its public half.
  case coordinator
  /// Takes part in jobs: reads data and checkpoints, reports progress.
  case worker
  /// Submits, watches and ends jobs; cannot pose as a worker.
  case `operator`
}

/// The other end of a control link, proven by its key or by the kernel.
public struct Principal: Sendable, Hashable, CustomStringConvertible {
  /// What it may do.
  public enum Role: Sendable, Hashable {
    /// A process of the same user over ipc: it could read the coordinator's files anyway.
    case sameUser
    /// Anybody on this machine, over a coordinator started with `--insecure`.
    case anyone
    /// The owner of an enrolled key.
    case enrolled(KeyRole)
    /// Whoever was given a one-time token: may enroll one key, nothing else.
    case token(KeyRole)
  }

  /// What it may do.
  public var role: Role
  /// The name that its key was enrolled under; empty without a key.
  public var name: String
  /// Its key; nil without one.
  public var key: CurvePublicKey?

  /// Makes a principal.
  public init(role: Role, name: String = "", key: CurvePublicKey? = nil) {
    self.role = role
    self.name = name
    self.key = key
  }

  /// "worker machine-b", for refusals and logs.
  public var description: String {
    switch role {
    case .sameUser: "a process of this user"
    case .anyone: "an unknown program of this machine"
    case .enrolled(let role): "\(role.rawValue) \(name)"
    case .token: "the token for \(name)"
    }
  }
}

/// The keys that a server admits at this moment; read by the thread that authenticates, replaced by the server's owner.
public final class AccessList: Sendable {
  private let principals: Mutex<[CurvePublicKey: Principal]>

  /// Makes a list.
  public init(_ principals: [CurvePublicKey: Principal] = [:]) { self.principals = Mutex(principals) }

  /// The owner of a key; nil when it is not admitted.
  public func principal(of key: CurvePublicKey) -> Principal? { principals.withLock { $0[key] } }

  /// Admits these and nobody else; returns the keys that were admitted until now.
  @discardableResult
  public func replace(_ new: [CurvePublicKey: Principal]) -> Set<CurvePublicKey> {
    defer { try? Authenticator.shared().gateChanged() }
    return principals.withLock { old in
      let gone = Set(old.keys).subtracting(new.keys)
      old = new
      return gone
    }
  }
}
