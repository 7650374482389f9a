// The embedded default: a coordinator and N workers as child processes of this one.
// They are the same executables, sockets and protocol as on many machines. Used by Commands/Run.swift.
// A worker that dies is started again with a growing pause and a budget; its death is said, never hidden.

import Foundation

/// Starts, watches and ends the processes of a cluster on this machine.
final class LocalCluster {
  struct Options {
    var workers: Int
    var threads: Int
    var directory: URL
    /// The coordinator's address; an ipc endpoint below the directory unless the path is too long for one.
    var endpoint: String
  }

  /// One worker's place: the process that fills it now, and how often it had to be filled again.
  private struct Slot {
    var process: Process
    var restarts = 0
    var restartAt: Date?
    /// Drained by a person: not started again.
    var hasLeft = false
  }

  static let restartBudget = 20

  private let options: Options
  private let executables: URL
  private let logFile: FileHandle
  private var coordinator: Process?
  private var slots: [Slot] = []
  private var coordinatorRestarts = 0
  let logPath: String

  init(options: Options) throws {
    self.options = options
    executables = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    for name in ["temper-coordinator", "temper-worker"]
    where !FileManager.default.isExecutableFile(atPath: executables.appendingPathComponent(name).path) {
      throw Failure(
        .configuration, "\(name) is not beside temper in \(executables.path)",
        hint: "build all products: make build")
    }
    do {
      try FileManager.default.createDirectory(at: options.directory, withIntermediateDirectories: true)
    } catch {
      throw Failure(
        .cannotCreate, "cannot create the directory \(options.directory.path)",
        hint: "choose another with --directory, or free the name")
    }
    logPath = options.directory.appendingPathComponent("processes.log").path
    if !FileManager.default.fileExists(atPath: logPath) {
      _ = FileManager.default.createFile(atPath: logPath, contents: nil)
    }
    guard let log = FileHandle(forWritingAtPath: logPath) else {
      throw Failure(.cannotCreate, "cannot write \(logPath)", hint: "check its owner and rights, or use --directory")
    }
    logFile = log
    try logFile.seekToEnd()
  }

  func start() throws {
    coordinator = try launch(
      "temper-coordinator", ["--directory", options.directory.path, "--listen", options.endpoint])
    for index in 0..<options.workers { slots.append(Slot(process: try launchWorker(index))) }
  }

  /// Looks after the processes; call it a few times a second.
  ///
  /// - Returns: What happened since the last call, for the person watching.
  /// - Throws: `Failure` when the coordinator cannot live or a worker's budget is spent.
  func supervise(now: Date = Date()) throws -> [String] {
    var events: [String] = []
    if let process = coordinator, !process.isRunning {
      let status = process.terminationStatus
      guard process.terminationReason == .uncaughtSignal, coordinatorRestarts < Self.restartBudget else {
        throw Failure(
          ExitStatus(rawValue: status) ?? .bug,
          "the coordinator ended with \(describe(process))\(lastWords())", hint: "see \(logPath)")
      }
      coordinatorRestarts += 1
      events.append("coordinator ended with \(describe(process)); started again from its database")
      coordinator = try launch(
        "temper-coordinator", ["--directory", options.directory.path, "--listen", options.endpoint])
    }
    for index in slots.indices where !slots[index].process.isRunning && !slots[index].hasLeft {
      if let time = slots[index].restartAt {
        guard now >= time else { continue }
        slots[index].restartAt = nil
        slots[index].process = try launchWorker(index)
        events.append("worker-\(index + 1) started again (pid \(slots[index].process.processIdentifier))")
        continue
      }
      let process = slots[index].process
      if process.terminationReason == .exit, process.terminationStatus == 0 {
        slots[index].hasLeft = true
        events.append("worker-\(index + 1) has left, as it was told to")
        continue
      }
      if [64, 77, 78].contains(process.terminationStatus), process.terminationReason == .exit {
        throw Failure(
          .configuration, "worker-\(index + 1) refuses to run: \(describe(process))\(lastWords())",
          hint: "see \(logPath)")
      }
      guard slots[index].restarts < Self.restartBudget else {
        throw Failure(
          .bug, "worker-\(index + 1) ended \(slots[index].restarts + 1) times; no more restarts",
          hint: "see \(logPath); the state is safe in \(options.directory.path), the same command resumes it")
      }
      let pause = min(0.5 * Double(1 << min(slots[index].restarts, 6)), 30)
      slots[index].restarts += 1
      slots[index].restartAt = now.addingTimeInterval(pause)
      events.append(
        "worker-\(index + 1) ended with \(describe(process)); the others go on, it is started again in \(fixed(pause, 1)) s"
      )
    }
    return events
  }

  /// Ends every child: first politely, after `grace` seconds for good.
  func stop(grace: Double = 20) {
    let children = slots.map(\.process) + [coordinator].compactMap { $0 }
    for process in children where process.isRunning { process.terminate() }
    let deadline = Date().addingTimeInterval(grace)
    while children.contains(where: \.isRunning), Date() < deadline { Thread.sleep(forTimeInterval: 0.02) }
    for process in children where process.isRunning { kill(process.processIdentifier, SIGKILL) }
    for process in children { process.waitUntilExit() }
  }

  private func launchWorker(_ index: Int) throws -> Process {
    try launch(
      "temper-worker",
      ["--coordinator", options.endpoint, "--threads", "\(options.threads)", "--name", "worker-\(index + 1)"])
  }

  private func launch(_ name: String, _ arguments: [String]) throws -> Process {
    let process = Process()
    process.executableURL = executables.appendingPathComponent(name)
    // The children end with this process, whatever ends it.
    process.arguments = arguments + ["--exit-with-parent"]
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = logFile
    process.standardError = logFile
    do { try process.run() } catch {
      throw Failure(.bug, "cannot start \(process.executableURL?.path ?? name): \(error.localizedDescription)")
    }
    return process
  }

  private func describe(_ process: Process) -> String {
    process.terminationReason == .uncaughtSignal
      ? "signal \(process.terminationStatus)" : "exit code \(process.terminationStatus)"
  }

  /// The last error line that a child wrote, so that the message holds the cause.
  private func lastWords() -> String {
    guard let text = try? String(contentsOfFile: logPath, encoding: .utf8) else { return "" }
    let line = text.split(separator: "\n").last { $0.contains("error") || $0.contains("Fatal") }
    return line.map { ": \($0)" } ?? ""
  }
}
