// temper keys join: on a machine without a key, turns a token into one.

import ArgumentParser
import Communication
import Foundation

struct KeysJoin: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "join",
    abstract: "Make a key on this machine and have it enrolled, in exchange for a token.",
    discussion: """
      The secret key never leaves this machine. The token names the coordinator's key, so nobody else can take its place. \
      Exits with 77 when the token is spent or too old.
      """)

  @Argument(help: "The token that temper keys enroll printed; - reads it from standard input.")
  var token: String

  @Option(
    help: ArgumentHelp("The coordinator's tcp endpoint. Default: TEMPER_COORDINATOR.", valueName: "endpoint"))
  var coordinator: String?

  @Option(
    help: ArgumentHelp(
      "Folder for the key. Default: TEMPER_KEYS, else XDG_CONFIG_HOME/temper, else ~/.config/temper.",
      valueName: "folder"), completion: .directory)
  var keys: String?

  @Option(help: "Seconds to wait for the coordinator's answer.")
  var timeout = 10.0

  @OptionGroup var output: OutputOptions

  struct Joined: Encodable {
    var name: String
    var role: String
    var fingerprint: String
    var file: String
  }

  func validate() throws {
    guard timeout > 0, timeout <= 3600 else {
      throw ValidationError("--timeout is \(timeout); it takes more than 0 and at most 3600 seconds")
    }
  }

  func run() throws {
    try ending {
      let environment = ProcessInfo.processInfo.environment
      guard let endpoint = coordinator ?? environment["TEMPER_COORDINATOR"], endpoint.hasPrefix("tcp://") else {
        throw Failure(
          .usage, "a token is redeemed over tcp; --coordinator is \(coordinator ?? "not given")",
          hint: "give the coordinator's endpoint, tcp://ADDRESS:PORT; over ipc no key is needed")
      }
      let text = token == "-" ? readLine() ?? "" : token
      let folder = Credentials.place(option: keys, environment: environment).path
      let (key, path) = try translated {
        try EnrollmentToken(text).redeem(at: endpoint, into: folder, timeout: .seconds(timeout))
      }
      if output.json {
        return try printJSON(
          Joined(name: key.name, role: key.role.rawValue, fingerprint: key.pair.publicKey.fingerprint, file: path))
      }
      print("\(key.role.rawValue) \(key.name) \(key.pair.publicKey.fingerprint)  \(path)")
    }
  }
}
