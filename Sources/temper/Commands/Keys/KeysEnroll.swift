// temper keys enroll: admits a key that is known, or prints a token that admits one.

import ArgumentParser
import Communication
import Foundation

struct KeysEnroll: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enroll",
    abstract: "Admit a machine or a person: print a token that enrolls one key, once.",
    discussion: """
      The token is a secret until it is used: whoever uses it first is NAME. With --public-key no token is needed: the key of \
      that machine is enrolled as it is. A coordinator that runs takes note within a second.
      """)

  @Argument(help: "Name of the machine or person, as lists and logs will show it.")
  var name: String

  @OptionGroup var registry: RegistryOptions
  @OptionGroup var output: OutputOptions

  @Option(help: "What the key is for: worker or operator.")
  var role = EnrollableRole.worker

  @Option(help: "Minutes until the token is worth nothing.")
  var validMinutes = 60

  @Option(help: ArgumentHelp("Enroll this key, 40 characters of Z85, instead of making a token.", valueName: "key"))
  var publicKey: String?

  struct Enrolled: Encodable {
    var name: String
    var role: String
    var fingerprint: String?
    var token: String?
    var validUntil: String?
  }

  func validate() throws {
    guard (1...10_080).contains(validMinutes) else {
      throw ValidationError("--valid-minutes is \(validMinutes); it takes 1...10080 (a week)")
    }
  }

  func run() throws {
    try ending {
      let registry = try registry.open()
      if let publicKey {
        guard let key = CurvePublicKey(z85: publicKey) else {
          throw Failure(
            .configuration, "--public-key: '\(publicKey)' is not a key",
            hint: "give 40 characters of Z85, in single quotes: the publicKey of a key file")
        }
        _ = try translated { try registry.enroll(name: name, role: role.role, key: key) }
        if output.json {
          return try printJSON(Enrolled(name: name, role: role.rawValue, fingerprint: key.fingerprint))
        }
        return print("enrolled \(role.rawValue) \(name) \(key.fingerprint)")
      }
      let token = try translated {
        try registry.issueToken(name: name, role: role.role, validFor: .seconds(validMinutes * 60))
      }
      let until = timestamp(Int64(Date().timeIntervalSince1970) + Int64(validMinutes * 60))
      if output.json {
        return try printJSON(Enrolled(name: name, role: role.rawValue, token: token.text, validUntil: until))
      }
      // The token alone on standard output, so that a script can take it.
      print(token.text)
      writeError(
        "one key of \(role.rawValue) \(name), until \(until); there: temper keys join TOKEN --coordinator tcp://ADDRESS:PORT"
      )
    }
  }
}
