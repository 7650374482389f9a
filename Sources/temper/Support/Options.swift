// Options that several commands share.

import ArgumentParser
import Communication
import Foundation
import JobSpec

/// The job file and its overrides.
struct JobFileOptions: ParsableArguments {
  @Argument(help: "The job specification, a YAML file.", completion: .file(extensions: ["yaml", "yml"]))
  var job: String

  @Option(
    name: .customLong("set"), parsing: .singleValue,
    help: ArgumentHelp(
      "Override one key of the job, e.g. training.epochs=2. May be repeated.", valueName: "key=value"))
  var overrides: [String] = []

  /// Reads and validates the job; every error is reported with file, line and column.
  func load() throws -> JobSpec {
    guard let bytes = FileManager.default.contents(atPath: job) else {
      let exists = FileManager.default.fileExists(atPath: job)
      throw Failure(
        .noInput, exists ? "cannot read the job file \(job)" : "there is no job file \(job)",
        hint: exists ? "check its rights; it must be a file" : "the examples are in Jobs/")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(.configuration, "\(job):1:1: error: the file is not UTF-8 text", hint: "save it as UTF-8")
    }
    do {
      let folder = URL(fileURLWithPath: job).deletingLastPathComponent().standardizedFileURL.path
      let spec = try JobSpec.parse(text, file: job, overrides: overrides).resolvingPaths(relativeTo: folder)
      for warning in spec.warnings { writeError("\(job): warning: \(warning)") }
      return spec
    } catch {
      throw Failure(.configuration, "\(error)")
    }
  }
}

/// Where the coordinator is.
struct CoordinatorOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Address of the coordinator. Default: TEMPER_COORDINATOR, else tcp://127.0.0.1:7070.", valueName: "endpoint"))
  var coordinator: String?

  @Option(help: "Seconds to wait for the coordinator's answer.")
  var timeout: Double = 5

  @Option(
    help: ArgumentHelp(
      """
      Folder with operator.key, or the file itself, for a coordinator over tcp. Default: TEMPER_KEYS, else \
      XDG_CONFIG_HOME/temper, else ~/.config/temper.
      """, valueName: "folder"), completion: .directory)
  var keys: String?

  @Flag(help: "Use no key and no encryption, on loopback only, with a coordinator that was started with --insecure.")
  var insecure = false

  var endpoint: String {
    coordinator ?? ProcessInfo.processInfo.environment["TEMPER_COORDINATOR"] ?? "tcp://127.0.0.1:7070"
  }

  /// How the link is protected.
  func security() throws -> ClientSecurity? {
    try translated {
      try Credentials.security(
        role: .operator, endpoint: endpoint, keys: keys, insecure: insecure,
        environment: ProcessInfo.processInfo.environment)
    }
  }

  func validate() throws {
    guard timeout > 0, timeout <= 3600 else {
      throw ValidationError("--timeout is \(timeout); it takes more than 0 and at most 3600 seconds")
    }
  }
}

struct OutputOptions: ParsableArguments {
  @Flag(help: "Print one JSON object on standard output instead of text.")
  var json = false
}
