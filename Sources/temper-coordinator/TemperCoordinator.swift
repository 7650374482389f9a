// temper-coordinator: owns jobs, membership, data sets and checkpoints of one directory. See the design, 7.1 and 7.5.
import ArgumentParser
import Coordinator
import Foundation
import Logging

@main
struct TemperCoordinator: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "temper-coordinator",
    abstract: "Coordinate training jobs: give work to workers, keep data sets and checkpoints.",
    discussion: """
      Started again on the same directory it goes on where it was; workers train on meanwhile.
      A tcp endpoint takes programs with enrolled keys only (temper keys) and encrypts everything; an ipc endpoint takes \
      programs of the same user.
      Exit codes: 0 stopped on request, 64 wrong usage, 75 start it again (a write failed), 77 keys are missing or open to \
      others, 78 wrong configuration (directory or port in use).
      """,
    version: CoordinatorConfiguration.programVersion)

  @Option(help: "Directory of the database, data sets, checkpoints and logs; made if missing. On a local disk.")
  var directory = "temper-runs"

  @Option(
    help: """
      Where to listen: tcp://ADDRESS:PORT with one address or interface of this machine, or ipc:///PATH; may be given \
      several times. (default: tcp://127.0.0.1:7070)
      """)
  var listen: [String] = []

  @Flag(
    help: "Take tcp links without keys and encryption, on loopback only. Every user of this machine can run jobs then.")
  var insecure = false

  @Option(
    help: ArgumentHelp(
      """
      Folder below which jobs submitted over tcp may name data and weights; may be given several times. Jobs submitted \
      over ipc may name whatever this user can read.
      """, valueName: "folder"))
  var dataRoot: [String] = []

  @Option(
    help: "Least severe lines to log: trace, debug, info, notice, warning, error or critical.",
    transform: Self.logLevel)
  var logLevel = Logger.Level.info

  @Flag(help: "Log JSON objects, one a line, instead of text.")
  var jsonLogs = false

  @Flag(help: "End when the process that started this one ends.")
  var exitWithParent = false

  private static func logLevel(_ text: String) throws -> Logger.Level {
    guard let level = Logger.Level(rawValue: text) else {
      throw ValidationError("one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return level
  }

  func run() throws {
    raiseFileLimit()
    let (level, json) = (logLevel, jsonLogs)
    let logger = Logger(label: "coordinator") { _ in PlainLogHandler(logLevel: level, json: json) }
    let configuration = CoordinatorConfiguration(
      directory: directory, endpoints: listen.isEmpty ? ["tcp://127.0.0.1:7070"] : listen, insecure: insecure,
      dataRoots: dataRoot)
    do {
      let coordinator = try CoordinatorService(configuration, log: logger)
      let signals = stopOnSignals(coordinator, logger)
      if exitWithParent { watchParent(coordinator) }
      let endpoints = coordinator.endpoints.joined(separator: ", ")
      FileHandle.standardOutput.write(Data("listening on \(endpoints)\n".utf8))
      try coordinator.run()
      for source in signals { source.cancel() }
    } catch let error as CoordinatorError {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      throw ExitCode(error.exitCode)
    }
  }

  /// Every worker is an open connection: the usual soft limit of 1,024 files is too few for a large pool.
  private func raiseFileLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = min(limit.rlim_max, 65_536)
    _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  private func stopOnSignals(_ coordinator: CoordinatorService, _ logger: Logger) -> [any DispatchSourceSignal] {
    [SIGTERM, SIGINT].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        logger.info("stopping on signal \(number)")
        coordinator.stop()
      }
      source.resume()
      return source
    }
  }

  /// Polled, because the kernel's notice (PR_SET_PDEATHSIG) is about the thread that started this process.
  private func watchParent(_ coordinator: CoordinatorService) {
    let parent = getppid()
    let thread = Thread {
      while getppid() == parent { Thread.sleep(forTimeInterval: 0.2) }
      coordinator.stop()
    }
    thread.start()
  }
}
