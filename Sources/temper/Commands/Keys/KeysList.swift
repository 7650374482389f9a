// temper keys list: who is admitted, who was, and which tokens are out.

import ArgumentParser
import Communication
import Foundation

struct KeysList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List enrolled and revoked keys, and tokens that nobody has used.")

  @OptionGroup var registry: RegistryOptions
  @OptionGroup var output: OutputOptions

  struct Row: Encodable {
    var name: String
    var role: String
    var state: String
    var fingerprint: String
    var publicKey: String
    /// When it was enrolled or revoked, or when the token ends.
    var time: String
  }

  func run() throws {
    try ending {
      let content = try translated { try registry.open().content() }
      let now = Int64(Date().timeIntervalSince1970)
      let keys = content.keys.map { entry in
        row(
          entry.name, entry.role, entry.revokedUnixSeconds == nil ? "enrolled" : "revoked", entry.publicKey,
          entry.revokedUnixSeconds ?? entry.enrolledUnixSeconds)
      }
      let tokens = content.tokens.filter { $0.expiresUnixSeconds > now }.map { token in
        row(token.name, token.role, "token", token.publicKey, token.expiresUnixSeconds)
      }
      let rows = keys + tokens
      if output.json { return try printJSON(rows) }
      guard !rows.isEmpty else { return print("no keys; admit a machine with: temper keys enroll NAME") }
      var table = Table([
        ("name", .left), ("role", .left), ("state", .left), ("key", .left), ("since, tokens until", .left),
      ])
      for row in rows { table.append([row.name, row.role, row.state, row.fingerprint, row.time]) }
      print(table.lines.joined(separator: "\n"))
    }
  }

  private func row(_ name: String, _ role: KeyRole, _ state: String, _ key: String, _ time: Int64) -> Row {
    Row(
      name: name, role: role.rawValue, state: state, fingerprint: CurvePublicKey(z85: key)?.fingerprint ?? "damaged",
      publicKey: key, time: timestamp(time))
  }
}
