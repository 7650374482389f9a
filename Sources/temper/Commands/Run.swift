// temper run: a whole job on this machine, from the data to the INT8 model and the table.
// The main path is `run`: start the cluster, submit, follow, stop the cluster, compare, export, report.

import ArgumentParser
import Communication
import Data
import Foundation
import JobSpec

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a job on this machine: coordinator and workers as child processes.",
    discussion: """
      Ends with a table of average precision and recall per class for the float model, for INT8 by post-training \
      quantization and for INT8 by QAT, and with an ONNX model. Interrupted (Ctrl-C, SIGTERM) it stores a checkpoint and \
      exits with 75; the same command goes on from there. Interrupted twice it leaves at once, and the next run goes on from \
      the last checkpoint. Kill a worker if you like; the result is the same, bit for bit.
      """)

  @OptionGroup var file: JobFileOptions
  @OptionGroup var output: OutputOptions

  @Option(help: "Worker processes. The result does not depend on it.")
  var workers = 2

  @Option(help: "Threads of each worker. The result does not depend on it.")
  var threads = 1

  @Option(
    help: ArgumentHelp(
      "Where database, data, checkpoints and results go. Default: temper-runs/NAME.", valueName: "directory"),
    completion: .directory)
  var directory: String?

  func validate() throws {
    guard (1...64).contains(workers) else { throw ValidationError("--workers is \(workers); it takes 1...64") }
    guard (1...256).contains(threads) else { throw ValidationError("--threads is \(threads); it takes 1...256") }
  }

  func run() throws {
    try ending {
      let spec = try file.load()
      let directory = URL(fileURLWithPath: self.directory ?? "temper-runs/\(spec.name)", isDirectory: true)
        .standardizedFileURL
      let interruption = Interruption()
      let display = LiveDisplay(quiet: output.json)
      let started = Date()

      try prepareData(spec, in: directory, display: display)
      let (jobs, workerRecords) = try train(spec, in: directory, display: display, interruption: interruption)
      display.note("evaluating \(jobs.count == 2 ? "both models" : "the model") on the test split")
      let results = try RunResults.make(
        jobs: jobs, spec: spec, directory: directory, threads: workers * threads,
        seconds: Date().timeIntervalSince(started), workers: workerRecords)
      if output.json { try printJSON(results) } else { results.printReport() }
    }
  }

  /// Makes the data set where the coordinator will find it, so that missing data is said before any process is started.
  private func prepareData(_ spec: JobSpec, in directory: URL, display: LiveDisplay) throws {
    display.note("data: \(spec.data.source.rawValue)")
    do {
      let store = try StorePreparation.prepare(
        spec.data, directory: directory.appendingPathComponent("data").path, threads: workers * threads)
      let manifest = store.manifest
      display.note(
        "data: \(manifest.train.sampleCount) training and \(manifest.test.sampleCount) test images of"
          + " \(manifest.width)x\(manifest.height), \(manifest.classNames.count) classes")
    } catch {
      throw Failure(error.code == .missing ? .noInput : .dataError, error.description)
    }
  }

  /// Trains the job, its float baseline first when it asks for one; returns them in that order.
  private func train(
    _ spec: JobSpec, in directory: URL, display: LiveDisplay, interruption: Interruption
  ) throws -> (jobs: [WireJobInfo], workers: [RunResults.WorkerRecord]) {
    let endpoint = Self.endpoint(in: directory)
    let cluster = try LocalCluster(
      options: .init(workers: workers, threads: threads, directory: directory, endpoint: endpoint))
    try cluster.start()
    defer { cluster.stop() }
    display.note("\(workers) workers of \(threads) thread\(threads == 1 ? "" : "s"); files in \(directory.path)")
    display.note("another worker may join: temper-worker --coordinator \(endpoint)")

    let connection = try CoordinatorConnection(endpoint: endpoint, timeout: .seconds(30))
    let jobs = try spec.withBaseline.map { part in
      let job = try submit(part, connection)
      var isLeaving = false
      let info = try connection.follow(
        job: job, display: display, until: { $0.isOver || isLeaving && $0.isPaused }
      ) {
        for event in try cluster.supervise() { display.note(event) }
        guard interruption.isRequested, !isLeaving else { return }
        isLeaving = true
        display.note("interrupted; storing a checkpoint (once more: leaving at once)")
        _ = try connection.control(job: job, .pause)
      }
      if info.isPaused {
        throw Failure(
          .requeue, "interrupted: \(info.name) is \(info.reason)", hint: "the same command goes on from there")
      }
      try JobPresentation.requireFinished(info)
      return info
    }
    let records = try connection.workers().map {
      RunResults.WorkerRecord(name: $0.name, residentBytes: $0.residentBytes)
    }
    return (jobs, records.sorted { $0.name < $1.name })
  }

  /// Submits the job, or has the one go on that an interrupted run of the same command left; a failed one is tried anew.
  private func submit(_ spec: JobSpec, _ connection: CoordinatorConnection) throws -> UInt64 {
    let known = try connection.jobs().filter { $0.spec == spec.resolvedYAML() }
    guard let job = known.last, !["failed", "cancelled"].contains(job.state) else {
      return try connection.submit(spec, key: "\(spec.name)/\(known.count)").job
    }
    // Refused, and rightly, where nothing is paused nor about to be.
    _ = try connection.control(job: job.job, .resume)
    return job.job
  }

  /// An ipc endpoint in the directory, or below /tmp where the path would not fit into a socket address.
  static func endpoint(in directory: URL) -> String {
    let path = directory.appendingPathComponent("coordinator.ipc").path
    guard path.utf8.count > 100 else { return "ipc://\(path)" }
    let hash = path.utf8.reduce(UInt64(14_695_981_039_346_656_037)) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
    return "ipc:///tmp/temper-\(getuid())-\(String(hash, radix: 16)).ipc"
  }
}
