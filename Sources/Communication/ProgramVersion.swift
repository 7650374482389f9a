// The one version of all programs: a coordinator refuses workers of another one, because they might compute other bits.

/// Version of temper, temper-coordinator and temper-worker.
public enum ProgramVersion {
  /// As `--version` prints it.
  public static let text = "0.1.0"
}
