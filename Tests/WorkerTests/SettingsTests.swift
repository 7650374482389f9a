// Who wins when several say something, and what is said about a wrong value.
import Foundation
import Testing

@testable import Worker

@Suite("Settings")
struct SettingsTests {
  private let machine = Machine(
    processors: Setting(16, .probe("processors")), name: "host-7", now: Date(timeIntervalSince1970: 1_000_000),
    addressOnRoute: { $0 == "tcp://10.0.0.1:7070" ? "10.0.0.9" : nil })

  private func settings(
    _ environment: [String: String] = [:], file: String? = nil,
    _ change: (inout WorkerSettings.Flags) -> Void = { _ in }
  ) throws -> WorkerSettings {
    var flags = WorkerSettings.Flags()
    change(&flags)
    return try WorkerSettings(
      flags: flags, environment: environment, file: try file.map { try SettingsFile($0, path: "worker.conf") },
      machine: machine)
  }

  @Test("a flag wins over TEMPER_*, that over the scheduler, that over the file, that over the machine")
  func precedence() throws {
    let file = "# site\nthreads = 7\n"
    let slurm = ["SLURM_CPUS_PER_TASK": "5", "TEMPER_THREADS": ""]
    let both = ["SLURM_CPUS_PER_TASK": "5", "TEMPER_THREADS": "3"]
    let all = try [
      settings(both, file: file) { $0.threads = 2 }, settings(both, file: file), settings(slurm, file: file),
      settings(file: file), settings(),
    ].map(\.threads)
    #expect(all.map(\.value) == [2, 3, 5, 7, 16])
    #expect(
      all.map(\.origin.description) == [
        "--threads", "TEMPER_THREADS", "SLURM_CPUS_PER_TASK", "worker.conf:2", "processors",
      ])
  }

  @Test("every key may be a variable and a line of the file", arguments: WorkerSettings.keys)
  func keys(key: String) throws {
    let values = [
      "coordinator": "ipc:///tmp/c", "threads": "4", "name": "n", "data-interface": "eth1",
      "keys": "/etc/keys", "runtime-directory": "/run/t",
      "coordinator-timeout": "90", "max-runtime": "1h30m",
    ]
    let value = try #require(values[key])
    let variable = "TEMPER_" + key.uppercased().replacingOccurrences(of: "-", with: "_")
    let settings = try [settings([variable: value]), settings(file: "\(key) = \(value)")]
    for (settings, origin) in zip(settings, [variable, "worker.conf:1"]) {
      let found: (String, SettingOrigin)? =
        switch key {
        case "coordinator": (settings.coordinator.value, settings.coordinator.origin)
        case "threads": ("\(settings.threads.value)", settings.threads.origin)
        case "name": (settings.name.value, settings.name.origin)
        case "data-interface": (settings.dataInterface.value, settings.dataInterface.origin)
        case "keys": settings.keys.map { ($0.value, $0.origin) }
        case "runtime-directory": (settings.runtimeDirectory.value, settings.runtimeDirectory.origin)
        case "coordinator-timeout":
          (settings.coordinatorTimeout.value == .seconds(90) ? "90" : "", settings.coordinatorTimeout.origin)
        case "max-runtime":
          settings.maximumRuntime.map { ($0.value == .seconds(5_400) ? "1h30m" : "", $0.origin) }
        default: nil
        }
      #expect(found?.0 == value)
      #expect(found?.1.description == origin)
    }
  }

  @Test("a wrong value names its place, and what is taken", arguments: ["0", "-1", "many", "1025", "2.5"])
  func wrongThreads(text: String) {
    let variable = #expect(throws: WorkerError.self) { try settings(["TEMPER_THREADS": text]) }
    #expect(
      variable?.description
        == "TEMPER_THREADS: error: '\(text)' is not a number of threads, 1...1024\n  hint: correct it, or leave it out")
    #expect(variable?.exitCode == 64)
    let line = #expect(throws: WorkerError.self) { try settings(file: "\n\nthreads=\(text)") }
    #expect(line?.description.hasPrefix("worker.conf:3: error: '\(text)'") == true)
    #expect(line?.exitCode == 78)
  }

  @Test("a wrong line of the file names the nearest key")
  func wrongLine() {
    let unknown = #expect(throws: WorkerError.self) { try SettingsFile("thread = 2", path: "worker.conf") }
    #expect(unknown?.description.contains("worker.conf:1: error: 'thread' is no setting") == true)
    #expect(unknown?.hint.contains("the nearest is 'threads'") == true)
    for text in ["threads", "threads = 1\nthreads = 2"] {
      let error = #expect(throws: WorkerError.self) { try SettingsFile(text, path: "worker.conf") }
      #expect(error?.exitCode == 78)
    }
    let missing = #expect(throws: WorkerError.self) {
      try SettingsFile.find(named: "/nowhere/worker.conf", environment: [:])
    }
    #expect(missing?.location == "/nowhere/worker.conf")
  }

  @Test("a worker is named after its task")
  func names() throws {
    let array = ["SLURM_JOB_ID": "43", "SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "3"]
    let step = ["SLURM_JOB_ID": "43", "SLURM_NTASKS": "4", "SLURM_PROCID": "2"]
    let names = try [settings(array), settings(step), settings(["JOB_COMPLETION_INDEX": "0"]), settings()].map(\.name)
    #expect(names.map(\.value) == ["slurm-40_3", "slurm-43-2", "kubernetes-0", "host-7"])
    #expect(
      names.map(\.origin.description) == ["SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID", "JOB_COMPLETION_INDEX", "default"])
  }

  @Test("the earlier of --max-runtime and a minute before the scheduler's end counts")
  func deadline() throws {
    let scheduler = ["SLURM_JOB_END_TIME": "1000600"]
    #expect(try settings(scheduler).maximumRuntime == Setting(.seconds(540), .variable("SLURM_JOB_END_TIME")))
    let earlier = try settings(scheduler) { $0.maximumRuntime = "1m" }
    #expect(earlier.maximumRuntime?.value == .seconds(60))
    #expect(try settings(["SLURM_JOB_END_TIME": "1000030"]).maximumRuntime?.value == .seconds(1))
    #expect(try settings().maximumRuntime == nil)
  }

  @Test("auto is the address on the route to the coordinator")
  func route() throws {
    let found = try settings(["TEMPER_COORDINATOR": "tcp://10.0.0.1:7070"]) { $0.dataInterface = "auto" }
    #expect(found.dataInterface.value == "10.0.0.9")
    let error = #expect(throws: WorkerError.self) {
      try settings(["TEMPER_COORDINATOR": "tcp://10.9.9.9:7070"]) { $0.dataInterface = "auto" }
    }
    #expect(error?.location == "--data-interface")
    #expect(Machine.address(onRouteTo: "tcp://127.0.0.1:7070") == "127.0.0.1")
    #expect(Machine.address(onRouteTo: "ipc:///tmp/c") == "127.0.0.1")
  }

  @Test(
    "times as people write them",
    arguments: [("90", 90), ("90s", 90), ("1.5m", 90), ("4h30m", 16_200), ("1d", 86_400)] as [(String, Double)])
  func durations(text: String, seconds: Double) { #expect(SpokenDuration.parse(text) == .seconds(seconds)) }

  @Test("times that are none", arguments: ["", "0", "-5", "5x", "h", "m5", "31d", "1e9", "nan", "inf", "4h30"])
  func wrongDurations(text: String) { #expect(SpokenDuration.parse(text) == nil) }

  @Test(
    "a container's quota counts when it is less than the processors",
    arguments: [
      ("200000 100000\n", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 16), ("9900000 100000", 16),
      ("", 16), ("x y", 16),
    ])
  func quota(text: String, expected: Int) { #expect(Machine.processors(cores: 16, quota: text).value == expected) }
}

@Suite("The watchdog of a worker")
struct ProgressWatchTests {
  @Test("is fed while the worker waits, and while it trains only when steps are committed")
  func progress() {
    var watch = ProgressWatch(interval: .seconds(10))
    let calls: [(activity: Activity, steps: UInt64, seconds: Int, isDue: Bool)] = [
      (.idle, 0, 0, true), (.idle, 0, 9, false), (.idle, 0, 10, true), (.training, 4, 20, true),
      (.training, 4, 30, false),
      (.training, 4, 300, false), (.training, 5, 301, true), (.evaluating, 5, 311, true),
    ]
    for call in calls {
      let isDue = watch.isDue(activity: call.activity, steps: call.steps, at: .seconds(call.seconds))
      #expect(isDue == call.isDue, "\(call)")
    }
  }
}
