// Which key a program uses for which endpoint: --keys, then TEMPER_KEYS, then ~/.config/temper.

import Foundation

/// How a client protects its link to a coordinator.
public enum ClientSecurity: Sendable, Hashable {
  /// Encrypted both ways, this side proven by its key, the other by its own.
  case curve(CurveKeyPair, coordinator: CurvePublicKey)
  /// In the clear, on loopback only, to a coordinator that was started with `--insecure`.
  case insecure
}

/// Finds the key file of a program.
public enum Credentials {
  /// The folder of a person's keys: `$XDG_CONFIG_HOME/temper`, else `~/.config/temper`.
  private static func defaultFolder(environment: [String: String]) -> String {
    if let configuration = environment["XDG_CONFIG_HOME"], configuration.hasPrefix("/") {
      return configuration + "/temper"
    }
    return (environment["HOME"] ?? NSHomeDirectory()) + "/.config/temper"
  }

  /// The place of a program's keys, a folder or a file, and where that was said.
  ///
  /// - Parameters:
  ///   - option: the value of `--keys`.
  ///   - environment: the variables of the process.
  public static func place(option: String?, environment: [String: String]) -> (path: String, origin: String) {
    if let option { return (option, "--keys") }
    if let variable = environment["TEMPER_KEYS"], !variable.isEmpty { return (variable, "TEMPER_KEYS") }
    return (defaultFolder(environment: environment), "default")
  }

  /// The key file to use and where that was said.
  ///
  /// - Parameters:
  ///   - role: whose key: the file is `worker.key` or `operator.key`.
  ///   - option: the value of `--keys`: a folder or a file.
  ///   - environment: the variables of the process.
  public static func location(
    role: KeyRole, option: String?, environment: [String: String]
  ) -> (path: String, origin: String) {
    let (place, origin) = place(option: option, environment: environment)
    var isFolder: ObjCBool = false
    let isFile = FileManager.default.fileExists(atPath: place, isDirectory: &isFolder) && !isFolder.boolValue
    return (isFile ? place : "\(place)/\(role.rawValue).key", origin)
  }

  /// How a client is to link to an endpoint: ipc needs nothing, tcp a key or `--insecure`.
  ///
  /// - Parameters:
  ///   - role: `worker` or `operator`.
  ///   - endpoint: the coordinator's.
  ///   - option: the value of `--keys`, a folder or a file; nil when it was not given.
  ///   - insecure: whether `--insecure` was given.
  ///   - environment: the variables of the process.
  /// - Throws: `noKey`, `notPermitted`, `badKey`, each naming the file and what to do.
  public static func security(
    role: KeyRole, endpoint: String, keys option: String?, insecure: Bool, environment: [String: String]
  ) throws -> ClientSecurity? {
    guard endpoint.hasPrefix("tcp://") else { return nil }
    if insecure {
      try requireLoopback(endpoint)
      return .insecure
    }
    let path = location(role: role, option: option, environment: environment).path
    let key: KeyFile
    do { key = try KeyFile.read(path) } catch let error as CommunicationError where error.code == .noKey {
      throw CommunicationError(
        .noKey, "a tcp link to a coordinator needs the key of \(role == .worker ? "a worker" : "an operator")",
        hint: "on the coordinator's machine: temper keys enroll NAME --role \(role.rawValue); "
          + "then here: temper keys join TOKEN --coordinator \(endpoint)",
        location: path)
    }
    guard key.role == role, let coordinator = key.coordinator else {
      throw CommunicationError(
        .badKey, "this is the key of \(key.role.rawValue) \(key.name); \(role.rawValue) keys are kept apart",
        hint: "enroll a key with --role \(role.rawValue)", location: path)
    }
    return .curve(key.pair, coordinator: coordinator)
  }

  /// Refuses an endpoint or address that other machines can reach.
  ///
  /// - Throws: `notPermitted`.
  public static func requireLoopback(_ endpoint: String) throws {
    guard !Endpoint.isLoopback(endpoint) else { return }
    throw CommunicationError(
      .notPermitted, "--insecure is for loopback only: anybody who reaches this address could read and run jobs",
      hint: "use 127.0.0.1, or keys instead: temper keys init", location: endpoint)
  }
}
