// temper-worker: one member of the cluster. Reads its flags, runs a session, exits with a code that schedulers understand.
import ArgumentParser
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
      Exit codes: 0 done or nothing to do, 75 start me again, 69 coordinator unreachable, 64 or 78 do not restart, 70 a bug.
      SIGTERM, SIGINT and SIGUSR1 make it leave within 20 seconds; a second signal ends it at once.
      """,
    version: WorkerConfiguration.programVersion)

  @Option(help: ArgumentHelp("Where the coordinator listens.", valueName: "endpoint"))
  var coordinator = "tcp://127.0.0.1:7070"

  @Option(
    help: ArgumentHelp(
      "Threads that compute. (default: TEMPER_THREADS, SLURM_CPUS_PER_TASK, else the processors)", valueName: "count"))
  var threads: Int?

  @Option(help: ArgumentHelp("Shown in logs and by `temper workers`. (default: host-pid)", valueName: "name"))
  var name: String?

  @Option(
    help: ArgumentHelp(
      "Address or interface that other workers reach this one at. Links are not encrypted: name only a network you trust.",
      valueName: "address"))
  var dataInterface = "127.0.0.1"

  @Option(
    help: ArgumentHelp(
      "Folder for the sockets of workers on this machine. (default: XDG_RUNTIME_DIR/temper or /tmp/temper-UID)",
      valueName: "folder"))
  var runtimeDirectory: String?

  @Flag(help: "Exit with 0 after 5 seconds without work, as cron jobs want it.")
  var once = false

  @Flag(help: "Leave when the process that started this one ends.")
  var exitWithParent = false

  @Option(
    help: ArgumentHelp(
      "Exit with 69 after this long without a coordinator; steps that need none are finished first.",
      valueName: "seconds"))
  var coordinatorTimeout = 60.0

  @Option(
    help: ArgumentHelp("How much to log: trace, debug, info, notice, warning, error.", valueName: "level"),
    transform: Self.level)
  var logLevel = Logger.Level.info

  func validate() throws {
    guard coordinatorTimeout > 0, coordinatorTimeout <= 86_400 else {
      throw ValidationError("--coordinator-timeout is \(coordinatorTimeout); it takes more than 0 and at most 86400 s")
    }
  }

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
    let threads = try WorkerConfiguration.threads(
      flag: threads, environment: environment, cores: ProcessInfo.processInfo.activeProcessorCount)
    let session = WorkerSession(
      WorkerConfiguration(
        coordinator: coordinator, name: name ?? WorkerConfiguration.defaultName, threads: threads.count,
        instructionSet: InstructionSet.current.rawValue,
        dataInterface: dataInterface,
        runtimeDirectory: runtimeDirectory ?? WorkerConfiguration.defaultRuntimeDirectory(environment: environment),
        once: once, coordinatorTimeout: .seconds(coordinatorTimeout)),
      log: log)
    SignalWatch.start { session.leave(signal: $0) }
    if exitWithParent { ParentWatch.start { session.leave(signal: "the parent process ended") } }
    for warning in session.networkWarnings { log.warning("\(warning)") }
    log.info("\(threads.count) threads (from \(threads.origin)), coordinator \(coordinator)")
    let code = try session.run()
    // Not by returning: threads of the process may still be at work, and nothing waits for them.
    Foundation.exit(code)
  }
}
