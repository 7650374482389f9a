// The keys of a running coordinator: reads the registry, sees when it changed, tells which keys went.
import Communication
import Foundation

/// Keeps the list that the server admits by; used by the server's thread.
final class KeyKeeper {
  private let registry: KeyRegistry
  private let access = AccessList()
  private var content = KeyRegistry.Content()
  private var stamp = ""

  /// Reads the keys of a coordinator's directory.
  ///
  /// - Throws: `CommunicationError` `noKey`, `notPermitted`, `badKey`.
  init(directory: String) throws {
    registry = try KeyRegistry(directory: directory)
    stamp = registry.stamp
    content = try registry.content()
    access.replace(content.principals(atUnixSeconds: Self.now))
  }

  /// How the server protects its tcp endpoints.
  var security: ServerSecurity { .curve(registry.coordinator.pair, access) }

  /// Reads the registry again if it changed.
  ///
  /// - Returns: The keys that are not admitted any more.
  /// - Throws: `CommunicationError` when it cannot be read, once per change; the keys stay as they were.
  func refresh() throws -> Set<CurvePublicKey> {
    let now = Self.now
    let latest = registry.stamp
    let expired = content.tokens.contains { $0.expiresUnixSeconds <= now }
    guard latest != stamp || expired else { return [] }
    if latest != stamp {
      stamp = latest
      content = try registry.content()
    }
    content.tokens.removeAll { $0.expiresUnixSeconds <= now }
    return access.replace(content.principals(atUnixSeconds: now))
  }

  /// Enrolls a key in exchange for a token.
  ///
  /// - Throws: `CommunicationError` `notPermitted`, `system`.
  func redeem(token: CurvePublicKey, for key: CurvePublicKey) throws -> KeyRegistry.Entry {
    try registry.redeem(token: token, for: key)
  }

  private static var now: Int64 { Int64(Date().timeIntervalSince1970) }
}
