// temper keys revoke: a key is not admitted any more.

import ArgumentParser
import Communication

struct KeysRevoke: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "revoke",
    abstract: "Stop admitting a machine or a person.",
    discussion: """
      A coordinator that runs takes note within a second: the worker is told to end, its generation goes on without it, \
      under keys that it does not know. A revoked key is never admitted again.
      """)

  @Argument(help: "Name under which the key was enrolled.")
  var name: String

  @OptionGroup var registry: RegistryOptions
  @OptionGroup var output: OutputOptions

  struct Revoked: Encodable {
    var name: String
    var fingerprints: [String]
  }

  func run() throws {
    try ending {
      let registry = try registry.open()
      let entries = try translated { try registry.revoke(name: name) }
      let fingerprints = entries.compactMap { CurvePublicKey(z85: $0.publicKey)?.fingerprint }
      if output.json { return try printJSON(Revoked(name: name, fingerprints: fingerprints)) }
      print(
        "revoked \(name) \(fingerprints.isEmpty ? "(its token, nobody had used it)" : fingerprints.joined(separator: " "))"
      )
    }
  }
}
