// temper-worker: one member of the cluster. Reads its flags, runs a session, exits with a code that schedulers understand.
import ArgumentParser
import Communication
import Foundation
import Kernels
import Logging
import Worker

@main
struct TemperWorker: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "temper-worker",
    abstract: "Trains with the other workers of a coordinator; may be started, stopped and killed at any time.",
    discussion: """
      Exit codes: 0 done or nothing to do, 75 start me again, 69 coordinator unreachable, 64, 77 or 78 do not restart, 70 a bug.
      SIGTERM, SIGINT and SIGUSR1 make it leave within 20 seconds; another, a second later or more, ends it at once.
      Every option may also be an environment variable (--max-runtime: TEMPER_MAX_RUNTIME) or a line of the file of settings; \
      a flag wins over the environment, that over the scheduler's variables, those over the file. `temper doctor` shows what counts.
      """,
    version: WorkerConfiguration.programVersion)

  @Option(help: ArgumentHelp("Where the coordinator listens. (default: tcp://127.0.0.1:7070)", valueName: "endpoint"))
  var coordinator: String?

  @Option(
    help: ArgumentHelp("Threads that compute. (default: SLURM_CPUS_PER_TASK, else the processors)", valueName: "count"))
  var threads: Int?

  @Option(
    help: ArgumentHelp(
      "Shown in logs and by `temper workers`. (default: the scheduler's task, else host-pid)", valueName: "name"))
  var name: String?

  @Option(
    help: ArgumentHelp(
      "Address or interface that other workers reach this one at; auto takes the one on the route to the coordinator. "
        + "Links are encrypted. (default: 127.0.0.1)", valueName: "address"))
  var dataInterface: String?

  @Option(
    help: ArgumentHelp(
      """
      Folder with worker.key, or the file itself, for a coordinator over tcp; closed to other users. \
      (default: TEMPER_KEYS, else XDG_CONFIG_HOME/temper, else ~/.config/temper)
      """, valueName: "folder"))
  var keys: String?

  @Flag(help: "Use no keys and no encryption, on loopback only, with a coordinator that was started with --insecure.")
  var insecure = false

  @Option(
    help: ArgumentHelp(
      "Folder for the sockets of workers on this machine. (default: XDG_RUNTIME_DIR/temper or /tmp/temper-UID)",
      valueName: "folder"))
  var runtimeDirectory: String?

  @Option(
    help: ArgumentHelp(
      "File of settings, `key = value` lines with these options' names. "
        + "(default: TEMPER_CONFIG, else ~/.config/temper/worker.conf, else /etc/temper/worker.conf)", valueName: "file"
    ))
  var config: String?

  @Flag(help: "Exit with 0 after 5 seconds without work, as cron jobs want it.")
  var once = false

  @Flag(help: "Leave when the process that started this one ends.")
  var exitWithParent = false

  @Option(
    help: ArgumentHelp(
      "Exit with 69 after this long without a coordinator; steps that need none are finished first. (default: 60s)",
      valueName: "time"))
  var coordinatorTimeout: String?

  @Option(
    help: ArgumentHelp(
      "Leave after this long, as 4h30m; a scheduler's SLURM_JOB_END_TIME counts as well. (default: never)",
      valueName: "time"))
  var maxRuntime: String?

  @Option(
    help: ArgumentHelp("How much to log: trace, debug, info, notice, warning, error.", valueName: "level"),
    transform: Self.level)
  var logLevel = Logger.Level.info

  func run() throws {
    var log = Logger(label: "worker") { _ in PlainLogHandler() }
    log.logLevel = logLevel
    do {
      try work(log)
    } catch let code as ExitCode {
      throw code
    } catch {
      log.error("\(error)")
      throw ExitCode(WorkerSession.exitCode(of: error))
    }
  }

  private static func level(_ text: String) throws -> Logger.Level {
    guard let level = Logger.Level(rawValue: text) else {
      throw ValidationError("'\(text)' is not one of trace, debug, info, notice, warning, error")
    }
    return level
  }

  private func work(_ log: Logger) throws {
    let environment = ProcessInfo.processInfo.environment
    let settings = try WorkerSettings(
      flags: flags, environment: environment,
      file: try SettingsFile.find(named: config, environment: environment), machine: .current)
    let configuration = try settings.configuration(
      instructionSet: InstructionSet.current.rawValue, once: once, insecure: insecure, environment: environment)
    let session = WorkerSession(configuration, log: log)
    SignalWatch.start { session.leave(signal: $0) }
    if exitWithParent { ParentWatch.start { session.leave(signal: "the parent process ended") } }
    for warning in session.networkWarnings { log.warning("\(warning)") }
    if let limit = settings.maximumRuntime {
      Deadline.start(after: limit.value) { session.leave(signal: "\(limit.origin) of \(limit.value)") }
    }
    log.info(
      "\(settings.threads.value) threads (from \(settings.threads.origin)), coordinator \(settings.coordinator.value)")
    let code = try session.run()
    // Not by returning: threads of the process may still be at work, and nothing waits for them.
    Foundation.exit(code)
  }

  private var flags: WorkerSettings.Flags {
    var flags = WorkerSettings.Flags()
    flags.coordinator = coordinator
    flags.threads = threads
    flags.name = name
    flags.dataInterface = dataInterface
    flags.keys = keys
    flags.runtimeDirectory = runtimeDirectory
    flags.coordinatorTimeout = coordinatorTimeout
    flags.maximumRuntime = maxRuntime
    return flags
  }
}
