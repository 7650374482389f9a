// Everything that a worker can be told, from wherever it is told: the one place that knows flags, variables, keys and their order.
// `temper-worker` runs with it, `temper doctor` prints it.
import Communication
import Foundation

/// The settings of a worker, each with its origin.
public struct WorkerSettings: Sendable, Hashable {
  /// What the command line says; nil stands for a flag that was not given.
  public struct Flags: Sendable, Hashable {
    /// --coordinator.
    public var coordinator: String?
    /// --threads.
    public var threads: Int?
    /// --name.
    public var name: String?
    /// --data-interface.
    public var dataInterface: String?
    /// --keys.
    public var keys: String?
    /// --runtime-directory.
    public var runtimeDirectory: String?
    /// --coordinator-timeout, as it was written.
    public var coordinatorTimeout: String?
    /// --max-runtime, as it was written.
    public var maximumRuntime: String?

    /// No flags.
    public init() {}
  }

  /// The flags' names without dashes, which are also the keys of the file; TEMPER_THREADS and so on are the variables.
  public static let keys = [
    "coordinator", "threads", "name", "data-interface", "keys", "runtime-directory", "coordinator-timeout",
    "max-runtime",
  ]

  /// Where the coordinator listens.
  public var coordinator: Setting<String>
  /// Threads that compute.
  public var threads: Setting<Int>
  /// Shown in logs and by `temper workers`.
  public var name: Setting<String>
  /// The address or interface that other workers reach this one at.
  public var dataInterface: Setting<String>
  /// Folder with worker.key, or the file; nil for the default place.
  public var keys: Setting<String>?
  /// Folder for the sockets of workers on this machine.
  public var runtimeDirectory: Setting<String>
  /// Without a coordinator for this long the worker exits with 69.
  public var coordinatorTimeout: Setting<Duration>
  /// After this long the worker leaves by itself, before a scheduler ends it; nil for never.
  public var maximumRuntime: Setting<Duration>?

  /// Puts together what all sources say.
  ///
  /// - Throws: `WorkerError`: `usage` for a wrong flag or variable, `configuration` for a wrong line of the file; each names its
  ///   place, the value and what is taken.
  public init(flags: Flags, environment: [String: String], file: SettingsFile?, machine: Machine) throws(WorkerError) {
    let sources = Sources(environment: environment, file: file)
    coordinator = try sources.text("coordinator", flags.coordinator) ?? Setting("tcp://127.0.0.1:7070", .builtIn)
    threads =
      try sources.value(
        "threads", flags.threads.map { "\($0)" }, scheduler: ["SLURM_CPUS_PER_TASK"],
        taking: "a number of threads, 1...1024"
      ) { Int($0).flatMap { (1...1_024).contains($0) ? $0 : nil } } ?? machine.processors
    name =
      try sources.text("name", flags.name) ?? SchedulerVariables.name(environment) ?? Setting(machine.name, .builtIn)
    keys = try sources.text("keys", flags.keys)
    runtimeDirectory =
      try sources.text("runtime-directory", flags.runtimeDirectory)
      ?? WorkerConfiguration.runtimeDirectory(environment: environment)
    coordinatorTimeout =
      try sources.duration("coordinator-timeout", flags.coordinatorTimeout) ?? Setting(.seconds(60), .builtIn)
    let interface = try sources.text("data-interface", flags.dataInterface) ?? Setting("127.0.0.1", .builtIn)
    dataInterface = try Self.routed(interface, coordinator.value, machine)
    let told = try sources.duration("max-runtime", flags.maximumRuntime)
    let scheduled = SchedulerVariables.timeLeft(environment, now: machine.now)
    maximumRuntime = [told, scheduled].compactMap { $0 }.min { $0.value < $1.value }
  }

  /// Replaces `auto` by this machine's address on the way to the coordinator; host names lie on machines with several networks.
  private static func routed(
    _ interface: Setting<String>, _ coordinator: String, _ machine: Machine
  ) throws(WorkerError) -> Setting<String> {
    guard interface.value == "auto" else { return interface }
    guard let address = machine.addressOnRoute(coordinator) else {
      throw WorkerError(
        code: .usage, message: "'auto' finds no way to \(coordinator)",
        hint: "give the address that other workers reach this machine at", location: "\(interface.origin)")
    }
    return Setting(address, .probe("\(interface.origin): auto, the route to \(coordinator)"))
  }

  /// What the worker runs with.
  ///
  /// - Throws: `CommunicationError` when the coordinator's endpoint needs a key and there is none that may be used.
  public func configuration(
    instructionSet: String, once: Bool, insecure: Bool, environment: [String: String]
  ) throws -> WorkerConfiguration {
    WorkerConfiguration(
      coordinator: coordinator.value,
      security: try Credentials.security(
        role: .worker, endpoint: coordinator.value, keys: keys?.value, insecure: insecure, environment: environment),
      insecure: insecure, name: name.value, threads: threads.value, instructionSet: instructionSet,
      dataInterface: dataInterface.value, runtimeDirectory: runtimeDirectory.value, once: once,
      coordinatorTimeout: coordinatorTimeout.value)
  }
}

/// Looks a key up in flag, environment and file.
private struct Sources {
  let environment: [String: String]
  let file: SettingsFile?

  func text(_ key: String, _ flag: String?) throws(WorkerError) -> Setting<String>? {
    try value(key, flag, taking: "a text") { $0 }
  }

  func duration(_ key: String, _ flag: String?) throws(WorkerError) -> Setting<Duration>? {
    try value(key, flag, taking: "a time above 0 and at most 30 days, as 90, 90s, 45m or 4h30m", SpokenDuration.parse)
  }

  func value<Value: Sendable & Hashable>(
    _ key: String, _ flag: String?, scheduler: [String] = [], taking: String, _ parse: (String) -> Value?
  ) throws(WorkerError) -> Setting<Value>? {
    let variable = "TEMPER_" + key.uppercased().replacingOccurrences(of: "-", with: "_")
    var found: (text: String, origin: SettingOrigin)?
    if let flag {
      found = (flag, .flag("--\(key)"))
    } else if let name = ([variable] + scheduler).first(where: { environment[$0]?.isEmpty == false }) {
      found = (environment[name] ?? "", .variable(name))
    } else {
      found = file?.entry(key)
    }
    guard let found else { return nil }
    guard let value = parse(found.text) else {
      var code = WorkerError.Code.usage
      if case .file = found.origin { code = .configuration }
      throw WorkerError(
        code: code, message: "'\(found.text)' is not \(taking)", hint: "correct it, or leave it out",
        location: "\(found.origin)")
    }
    return Setting(value, found.origin)
  }
}

/// Durations as people write them: 90, 90s, 45m, 4h30m, 1d.
enum SpokenDuration {
  static let limit = Duration.seconds(limitSeconds)
  private static let limitSeconds = 30 * 86_400.0

  /// nil when the text is none, not above zero, or above the limit.
  static func parse(_ text: String) -> Duration? {
    if let seconds = Double(text) { return checked(seconds) }
    var total = 0.0
    var number = ""
    for character in text {
      if character.isASCII && character.isNumber || character == "." {
        number.append(character)
      } else {
        guard let unit = ["d": 86_400.0, "h": 3_600, "m": 60, "s": 1][character], let count = Double(number) else {
          return nil
        }
        total += count * unit
        number = ""
      }
    }
    return number.isEmpty ? checked(total) : nil
  }

  private static func checked(_ seconds: Double) -> Duration? {
    seconds > 0 && seconds <= limitSeconds ? .seconds(seconds) : nil
  }
}
