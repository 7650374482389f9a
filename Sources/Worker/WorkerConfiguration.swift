// What a worker runs with. Where the values come from is WorkerSettings' business.
public import Communication
import Foundation

/// How a worker is set up.
public struct WorkerConfiguration: Sendable, Hashable {
  /// Where the coordinator listens: tcp://host:port or ipc://path.
  public var coordinator: String
  /// How a tcp link to the coordinator is protected; nil for ipc.
  public var security: ClientSecurity?
  /// Whether links to other workers are in the clear, on loopback only.
  public var insecure: Bool
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
    coordinator: String = "tcp://127.0.0.1:7070", security: ClientSecurity? = nil, insecure: Bool = false,
    name: String = WorkerConfiguration.defaultName, threads: Int,
    instructionSet: String = "", dataInterface: String = "127.0.0.1",
    runtimeDirectory: String = WorkerConfiguration.defaultRuntimeDirectory, once: Bool = false,
    coordinatorTimeout: Duration = .seconds(60)
  ) {
    self.coordinator = coordinator
    self.security = security
    self.insecure = insecure
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

  /// A folder in /tmp that belongs to this user.
  public static var defaultRuntimeDirectory: String { "/tmp/temper-\(getuid())" }

  /// XDG_RUNTIME_DIR/temper, else a folder in /tmp that belongs to this user.
  static func runtimeDirectory(environment: [String: String]) -> Setting<String> {
    if let directory = environment["XDG_RUNTIME_DIR"], !directory.isEmpty {
      return Setting(directory + "/temper", .variable("XDG_RUNTIME_DIR"))
    }
    return Setting(defaultRuntimeDirectory, .builtIn)
  }
}

extension WorkerConfiguration {
  /// What the owner of this machine should know about the addresses that were chosen; empty when all stays on this machine.
  var networkWarnings: [String] {
    var warnings: [String] = []
    if insecure {
      warnings.append("--insecure: links take no keys and encrypt nothing; every program on this machine can join in")
    }
    if !Endpoint.isLoopback(coordinator), Endpoint.isLoopback(host: dataInterface) {
      warnings.append(
        "workers on other machines cannot reach this one at \(dataInterface): give --data-interface an address of theirs"
      )
    }
    return warnings
  }

  /// Who this worker is, for the coordinator; a fresh incarnation each time.
  func hello(_ mesh: PeerMesh) -> WireWorkerHello {
    var hello = WireWorkerHello()
    hello.incarnation = UUID().uuidString
    hello.name = name
    hello.threads = UInt32(threads)
    hello.dataEndpoint = mesh.dataEndpoint
    hello.ipcEndpoint = mesh.ipcEndpoint
    hello.meshKey = Data(mesh.endpointKey?.bytes ?? [])
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
