// temper doctor: what a worker started here would run with, and whether it could reach and be reached.

import ArgumentParser
import Communication
import Foundation
import Kernels
import Worker

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show every setting of a worker here with its origin, look at its key, and test the ports both ways.",
    discussion: """
      Run it the way the worker runs: as its user, with its variables. It takes the worker's options, reads the same \
      variables and files, starts nothing and changes nothing. Exits with 0 when all is well, else as a worker would: \
      77 when its key is missing, open to others or not admitted, 78 when it is damaged or of another role, 69 when \
      something cannot be reached, 64 or 78 when a setting is wrong.
      """)

  @Option(help: ArgumentHelp("As for temper-worker, like the options below.", valueName: "endpoint"))
  var coordinator: String?
  @Option(help: ArgumentHelp("Address or interface, or auto.", valueName: "address"))
  var dataInterface: String?
  @Option(help: ArgumentHelp("Folder with worker.key, or the file.", valueName: "folder"))
  var keys: String?
  @Flag(help: "Without keys and encryption, on loopback only.")
  var insecure = false
  @Option(help: "File of settings.")
  var config: String?
  @Option(help: "Seconds to wait for each answer.")
  var timeout = 3.0

  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard timeout > 0, timeout <= 60 else {
      throw ValidationError("--timeout is \(timeout); it takes more than 0 and at most 60 seconds")
    }
  }

  func run() throws {
    try ending {
      let environment = ProcessInfo.processInfo.environment
      var flags = WorkerSettings.Flags()
      flags.coordinator = coordinator
      flags.dataInterface = dataInterface
      flags.keys = keys
      let settings: WorkerSettings
      do {
        settings = try WorkerSettings(
          flags: flags, environment: environment,
          file: try SettingsFile.find(named: config, environment: environment), machine: .current)
      } catch let error as WorkerError {
        throw Failure(ExitStatus(rawValue: error.exitCode) ?? .usage, error.description)
      }
      let key = KeyCheck(settings, insecure: insecure, environment: environment)
      let (ports, notes) = PortCheck(
        settings, timeout: .seconds(timeout), insecure: insecure, environment: environment
      ).run()
      let report = DoctorReport(
        version: ProgramVersion.text, instructionSet: InstructionSet.current.rawValue,
        settings: settings.listed(keys: key.path), key: key.run(),
        ports: ports, notes: notes)
      if output.json { try printJSON(report) } else { print(report.text) }
      if let exitCode = report.exitCode { throw ExitCode(exitCode) }
    }
  }
}

extension WorkerSettings {
  /// Every value as text with its origin, in the order of the keys.
  fileprivate func listed(keys path: String) -> [DoctorReport.Line] {
    func line<Value>(_ name: String, _ setting: Setting<Value>, _ text: String? = nil) -> DoctorReport.Line {
      DoctorReport.Line(name: name, value: text ?? "\(setting.value)", origin: setting.origin.description)
    }
    return [
      line("coordinator", coordinator), line("threads", threads), line("name", name),
      line("data-interface", dataInterface),
      DoctorReport.Line(name: "keys", value: path, origin: keys?.origin.description ?? "default"),
      line("runtime-directory", runtimeDirectory),
      line("coordinator-timeout", coordinatorTimeout),
      maximumRuntime.map { line("max-runtime", $0) }
        ?? DoctorReport.Line(name: "max-runtime", value: "no limit", origin: "default"),
    ]
  }
}
