// temper submit: sends a job to a coordinator.

import ArgumentParser
import Communication
import Foundation
import JobSpec

struct Submit: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Send a job to the coordinator's queue.",
    discussion: """
      Prints the job's number. With comparison.floatBaseline the same job without quantization is sent ahead of it, \
      under the name NAME-float.
      """)

  @OptionGroup var file: JobFileOptions
  @OptionGroup var coordinator: CoordinatorOptions
  @OptionGroup var output: OutputOptions

  @Flag(help: "Follow the job until it is over.")
  var watch = false

  @Option(
    help: "Jobs of a higher priority get their workers first, -100...100. Default: the job's cluster.priority.")
  var priority: Int?

  @Option(help: "Sending twice with the same key makes one job. Default: a new key each time.")
  var idempotencyKey: String?

  func validate() throws {
    guard let priority, !(-100...100).contains(priority) else { return }
    throw ValidationError("--priority is \(priority); it takes -100...100")
  }

  struct Submitted: Encodable {
    var job: UInt64
    var name: String
    var existed: Bool
  }

  func run() throws {
    try ending {
      var spec = try file.load()
      spec.cluster.priority = priority ?? spec.cluster.priority
      let connection = try CoordinatorConnection(coordinator)
      let key = idempotencyKey ?? UUID().uuidString
      var submitted: [Submitted] = []
      for part in spec.withBaseline {
        let result = try connection.submit(part, key: "\(key)/\(part.name)")
        submitted.append(Submitted(job: result.job, name: part.name, existed: result.existed))
      }
      if output.json, !watch { try printJSON(submitted) }
      for job in submitted where !output.json {
        print("job \(job.job)  \(job.name)\(job.existed ? "  (was there already)" : "")")
      }
      guard watch, let last = submitted.last else { return }
      let info = try connection.follow(job: last.job, display: LiveDisplay(quiet: output.json))
      try JobPresentation.report(info, json: output.json)
      try JobPresentation.requireFinished(info)
    }
  }
}

extension JobSpec {
  /// The jobs that a submission makes, in order: the float baseline when the job asks for one, then the job.
  var withBaseline: [JobSpec] {
    guard comparison.floatBaseline, quantization.enabled else { return [self] }
    var baseline = self
    baseline.name = String(name.prefix(57)) + "-float"
    baseline.quantization.enabled = false
    baseline.comparison.floatBaseline = false
    return [baseline, self]
  }
}
