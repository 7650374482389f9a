// One value that a worker is told, and who told it. Strongest first: flag, TEMPER_* variable, the scheduler's variables, the file
// of settings, what this machine says of itself, the built-in default.

/// Where a value comes from.
public enum SettingOrigin: Sendable, Hashable, CustomStringConvertible {
  /// A flag of the command, with its dashes.
  case flag(String)
  /// A variable of the environment: TEMPER_*, or one that Slurm or Kubernetes sets.
  case variable(String)
  /// A line of the file of settings.
  case file(String, line: Int)
  /// Found out from this machine, and how.
  case probe(String)
  /// Nobody said anything.
  case builtIn

  /// "--threads", "SLURM_CPUS_PER_TASK", "/etc/temper/worker.conf:3", "processors", "default".
  public var description: String {
    switch self {
    case .flag(let name), .variable(let name), .probe(let name): name
    case .file(let path, let line): "\(path):\(line)"
    case .builtIn: "default"
    }
  }
}

/// A value with its origin, as `temper doctor` prints it.
public struct Setting<Value: Sendable & Hashable>: Sendable, Hashable {
  /// What was told.
  public var value: Value
  /// By whom.
  public var origin: SettingOrigin

  /// Memberwise.
  public init(_ value: Value, _ origin: SettingOrigin) {
    self.value = value
    self.origin = origin
  }
}
