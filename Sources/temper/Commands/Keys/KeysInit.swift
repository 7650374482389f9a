// temper keys init: the coordinator's own key, and an operator key and a worker key for this user of this machine.

import ArgumentParser
import Communication
import Foundation

struct KeysInit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Make the coordinator's key, and keys for your own use on this machine.",
    discussion: """
      Makes what is missing and changes nothing that is there: the coordinator's key in DIRECTORY/keys, and operator.key and \
      worker.key in your own folder, enrolled as ROLE.USER.HOST.
      """)

  @OptionGroup var registry: RegistryOptions
  @OptionGroup var output: OutputOptions

  @Option(
    help: ArgumentHelp(
      "Folder for your own keys. Default: TEMPER_KEYS, else XDG_CONFIG_HOME/temper, else ~/.config/temper.",
      valueName: "folder"), completion: .directory)
  var keys: String?

  @Flag(help: "Make the coordinator's key only.")
  var coordinatorOnly = false

  struct Made: Encodable {
    var coordinatorKey: String
    var fingerprint: String
    var folder: String
    var files: [String]
  }

  func run() throws {
    try ending {
      let (registry, isNew) = try translated { try KeyRegistry.make(directory: self.registry.directory) }
      var made: [String] = isNew ? ["\(registry.folder)/coordinator.key"] : []
      for role in coordinatorOnly ? [] : EnrollableRole.allCases.map(\.role) {
        if let path = try own(role, registry) { made.append(path) }
      }
      let key = registry.coordinator.pair.publicKey
      guard !output.json else {
        return try printJSON(
          Made(coordinatorKey: key.z85, fingerprint: key.fingerprint, folder: registry.folder, files: made))
      }
      print("coordinator \(key.fingerprint)  \(registry.folder)")
      for path in made { print("made \(path)") }
      if made.isEmpty { print("nothing to do: all keys are there") }
    }
  }

  /// Makes and enrolls a key of this user; nil when there is one of this coordinator already.
  private func own(_ role: KeyRole, _ registry: KeyRegistry) throws -> String? {
    let path = Credentials.location(
      role: role, option: keys, environment: ProcessInfo.processInfo.environment
    ).path
    let coordinator = registry.coordinator.pair.publicKey
    return try translated {
      do {
        let known = try KeyFile.read(path)
        guard known.coordinator == coordinator else {
          throw CommunicationError(
            .notPermitted, "this key belongs to another coordinator",
            hint: "keep keys of several coordinators apart: --keys FOLDER here, TEMPER_KEYS for programs",
            location: path)
        }
        return nil
      } catch let error as CommunicationError where error.code == .noKey {
        let pair = CurveKeyPair.make()
        let entry = try registry.enroll(name: freeName(role, registry), role: role, key: pair.publicKey)
        try KeyFile(role: role, name: entry.name, pair: pair, coordinator: coordinator).write(path)
        return path
      }
    }
  }

  /// USER.HOST, numbered when that is taken.
  private func freeName(_ role: KeyRole, _ registry: KeyRegistry) throws -> String {
    let taken = Set(try registry.content().keys.filter { $0.revokedUnixSeconds == nil }.map(\.name))
    let host = ProcessInfo.processInfo.hostName.prefix { $0 != "." }
    let plain = "\(role.rawValue).\(NSUserName()).\(host)".filter {
      $0.isASCII && ($0.isLetter || $0.isNumber || ".-_".contains($0))
    }
    let base = String(plain.prefix(56))
    return ([base] + (2...1_000).map { "\(base)-\($0)" }).first { !taken.contains($0) } ?? base
  }
}
