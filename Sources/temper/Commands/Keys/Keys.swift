// temper keys: who may speak to a coordinator over tcp. The commands work on the files of the coordinator's directory, on its
// machine, whether it runs or not; `join` runs on the machine that wants to be admitted.

import ArgumentParser
import Communication
import Foundation

struct Keys: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say who may speak to a coordinator: make, enroll, revoke and list keys.",
    discussion: """
      Everything that crosses a network is encrypted, and every program proves who it is by a key: workers by worker keys, \
      people who submit jobs by operator keys. On the coordinator's machine: `temper keys init`, then for each machine \
      `temper keys enroll NAME`, which prints a token that works once. On the machine: `temper keys join TOKEN`.
      """,
    subcommands: [KeysInit.self, KeysEnroll.self, KeysJoin.self, KeysRevoke.self, KeysList.self])
}

/// Whose keys.
struct RegistryOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The coordinator's directory, as temper-coordinator was given it.", valueName: "directory"),
    completion: .directory)
  var directory = "temper-runs"

  func open() throws -> KeyRegistry { try translated { try KeyRegistry(directory: directory) } }
}

/// A moment as people and programs read it.
func timestamp(_ unixSeconds: Int64) -> String {
  Date(timeIntervalSince1970: Double(unixSeconds)).formatted(.iso8601)
}

/// The roles that a key can be enrolled with.
enum EnrollableRole: String, CaseIterable, ExpressibleByArgument {
  case worker
  case `operator`

  var role: KeyRole { self == .worker ? .worker : .operator }
}
