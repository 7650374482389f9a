// Exit codes (design, 7.5; sysexits.h): what a scheduler should do next with this worker.

/// How the process ended, for cron, systemd, Slurm and Kubernetes.
public enum WorkerExit {
  /// Done, or nothing to do.
  public static let success: Int32 = 0
  /// Wrong usage: do not restart.
  public static let usage: Int32 = 64
  /// The data is unusable.
  public static let data: Int32 = 65
  /// The coordinator cannot be reached: restart with back-off.
  public static let unreachable: Int32 = 69
  /// A bug of ours.
  public static let software: Int32 = 70
  /// There is work left: start me again.
  public static let requeue: Int32 = 75
  /// Not allowed: do not restart.
  public static let permission: Int32 = 77
  /// Wrong configuration, or versions that do not match: do not restart.
  public static let configuration: Int32 = 78
}
