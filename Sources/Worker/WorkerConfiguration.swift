// Everything that a worker can be told, with its defaults. Precedence: flag > TEMPER_* > scheduler variable > probe.
import Communication
import Foundation

/// How a worker is set up; the flags of `temper-worker` fill it.
public struct WorkerConfiguration: Sendable, Hashable {
  /// Where the coordinator listens: tcp://host:port or ipc://path.
  public var coordinator: String
  /// Shown in logs and in `temper workers`.
  public var name: String
  /// Threads that compute.
  public var threads: Int
  /// What the kernels run on, shown by `temper workers`.
  public var instructionSet: String
  /// The address that peers on other machines reach this worker at; loopback keeps the mesh on this machine.
  public var dataInterface: String
  /// Folder for the sockets of peers on this machine.
  public var runtimeDirectory: String
  /// Exit with 0 when there is nothing to do.
  public var once: Bool
  /// Without a coordinator for this long the worker exits with 69.
  public var coordinatorTimeout: Duration

  /// Memberwise, with the defaults of a worker on the coordinator's machine.
  public init(
    coordinator: String = "tcp://127.0.0.1:7070", name: String = WorkerConfiguration.defaultName, threads: Int,
    instructionSet: String = "", dataInterface: String = "127.0.0.1",
    runtimeDirectory: String = WorkerConfiguration.defaultRuntimeDirectory(environment: [:]), once: Bool = false,
    coordinatorTimeout: Duration = .seconds(60)
  ) {
    self.coordinator = coordinator
    self.name = name
    self.threads = threads
    self.instructionSet = instructionSet
    self.dataInterface = dataInterface
    self.runtimeDirectory = runtimeDirectory
    self.once = once
    self.coordinatorTimeout = coordinatorTimeout
  }

  /// The release that this program is; the coordinator refuses workers of another one, which might compute other bits.
  public static let programVersion = ProgramVersion.text

  /// host-pid.
  public static var defaultName: String {
    "\(ProcessInfo.processInfo.hostName)-\(ProcessInfo.processInfo.processIdentifier)"
  }

  /// XDG_RUNTIME_DIR/temper, else a folder in /tmp that belongs to this user.
  public static func defaultRuntimeDirectory(environment: [String: String]) -> String {
    if let directory = environment["XDG_RUNTIME_DIR"], !directory.isEmpty { return directory + "/temper" }
    return "/tmp/temper-\(getuid())"
  }

  /// The number of computing threads and where it comes from.
  ///
  /// - Parameters:
  ///   - flag: the value of `--threads`, nil when it was not given.
  ///   - environment: the variables of the process.
  ///   - cores: processors that this process may use.
  /// - Throws: `WorkerError.usage` when a value is not a number of 1...1024.
  public static func threads(
    flag: Int?, environment: [String: String], cores: Int
  ) throws(WorkerError) -> (count: Int, origin: String) {
    if let flag { return (try checked(flag, text: "\(flag)", origin: "--threads"), "--threads") }
    for variable in ["TEMPER_THREADS", "SLURM_CPUS_PER_TASK"] {
      guard let text = environment[variable], !text.isEmpty else { continue }
      return (try checked(Int(text), text: text, origin: variable), variable)
    }
    return (max(1, cores), "processors")
  }

  private static func checked(_ count: Int?, text: String, origin: String) throws(WorkerError) -> Int {
    guard let count, (1...1024).contains(count) else {
      throw WorkerError(
        code: .usage, message: "'\(text)' is not a number of threads", hint: "give 1...1024", location: origin)
    }
    return count
  }
}

extension WorkerConfiguration {
  /// What the owner of this machine should know about the addresses that were chosen; empty when all stays on this machine.
  var networkWarnings: [String] {
    var warnings: [String] = []
    if Self.isRemote(coordinator) || !Self.isLoopback(dataInterface) {
      warnings.append("links are not encrypted: use a network that you trust")
    }
    if Self.isRemote(coordinator), Self.isLoopback(dataInterface) {
      warnings.append(
        "workers on other machines cannot reach this one at \(dataInterface): give --data-interface an address of theirs"
      )
    }
    return warnings
  }

  private static func isRemote(_ endpoint: String) -> Bool {
    guard endpoint.hasPrefix("tcp://") else { return false }
    return !isLoopback(String(endpoint.dropFirst(6).prefix { $0 != ":" }))
  }

  private static func isLoopback(_ host: String) -> Bool {
    host.hasPrefix("127.") || ["localhost", "lo", "[", "::1"].contains(host)
  }

  /// Who this worker is, for the coordinator; a fresh incarnation each time.
  func hello(_ mesh: PeerMesh) -> WireWorkerHello {
    var hello = WireWorkerHello()
    hello.incarnation = UUID().uuidString
    hello.name = name
    hello.threads = UInt32(threads)
    hello.dataEndpoint = mesh.dataEndpoint
    hello.ipcEndpoint = mesh.ipcEndpoint
    hello.host = HostIdentity.current
    hello.instructionSet = instructionSet
    hello.version = Self.programVersion
    hello.processIdentifier = UInt32(ProcessInfo.processInfo.processIdentifier)
    return hello
  }

  /// Makes the folder for ipc sockets, open to this user only.
  ///
  /// - Throws: `WorkerError` `usage` when it cannot be made or belongs to somebody else.
  func makeRuntimeDirectory() throws(WorkerError) -> String {
    var information = stat()
    if mkdir(runtimeDirectory, 0o700) != 0, errno != EEXIST {
      throw runtimeDirectoryError("cannot be made: \(String(cString: strerror(errno)))")
    }
    guard lstat(runtimeDirectory, &information) == 0, information.st_mode & S_IFMT == S_IFDIR else {
      throw runtimeDirectoryError("is no folder")
    }
    guard information.st_uid == getuid(), information.st_mode & 0o022 == 0 else {
      throw runtimeDirectoryError("is open to other users")
    }
    return runtimeDirectory
  }

  private func runtimeDirectoryError(_ message: String) -> WorkerError {
    WorkerError(
      code: .usage, message: message, hint: "give another folder with --runtime-directory", location: runtimeDirectory)
  }
}
