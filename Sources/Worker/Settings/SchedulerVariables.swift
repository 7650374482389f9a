// What Slurm and Kubernetes tell a process about itself. Threads are in WorkerSettings (SLURM_CPUS_PER_TASK); here are who this is and how
// long it may live.
import Foundation

/// Reads the variables of schedulers.
enum SchedulerVariables {
  /// Left for the leaving itself: a worker has left 20 s after it decides to.
  static let margin = Duration.seconds(60)

  /// slurm-JOB_TASK of an array task, slurm-JOB, kubernetes-INDEX; nil elsewhere.
  static func name(_ environment: [String: String]) -> Setting<String>? {
    func text(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    if let job = text("SLURM_ARRAY_JOB_ID"), let task = text("SLURM_ARRAY_TASK_ID") {
      return Setting("slurm-\(job)_\(task)\(process(text))", .variable("SLURM_ARRAY_TASK_ID"))
    }
    if let job = text("SLURM_JOB_ID") { return Setting("slurm-\(job)\(process(text))", .variable("SLURM_JOB_ID")) }
    if let index = text("JOB_COMPLETION_INDEX") {
      return Setting("kubernetes-\(index)", .variable("JOB_COMPLETION_INDEX"))
    }
    return nil
  }

  /// Several workers of one job step are told apart by their rank.
  private static func process(_ text: (String) -> String?) -> String {
    guard let count = text("SLURM_NTASKS").flatMap({ Int($0) }), count > 1, let rank = text("SLURM_PROCID") else {
      return ""
    }
    return "-\(rank)"
  }

  /// The time until this worker should go, from SLURM_JOB_END_TIME (seconds since 1970); nil when the job has no limit.
  static func timeLeft(_ environment: [String: String], now: Date) -> Setting<Duration>? {
    guard let end = environment["SLURM_JOB_END_TIME"].flatMap({ Int64($0) }), abs(end) < 1 << 40 else { return nil }
    let left = Duration.seconds(Double(end) - now.timeIntervalSince1970) - margin
    // A job with less time than that was started to do what it can.
    return left <= SpokenDuration.limit
      ? Setting(max(left, .seconds(1)), .variable("SLURM_JOB_END_TIME")) : nil
  }
}
