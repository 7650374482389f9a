// temper jobs: what the coordinator holds.

import ArgumentParser
import Communication

struct Jobs: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "List the coordinator's jobs, newest last.")

  @OptionGroup var coordinator: CoordinatorOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try ending {
      let jobs = try CoordinatorConnection(coordinator).jobs()
      if output.json { return try printJSON(jobs.map(JobPresentation.init)) }
      guard !jobs.isEmpty else { return print("no jobs yet; send one with: temper submit JOB") }
      var table = Table([
        ("job", .right), ("name", .left), ("state", .left), ("priority", .right), ("epoch", .right), ("step", .right),
        ("workers", .right),
        ("images/s", .right), ("reason", .left),
      ])
      for job in jobs {
        let progress = job.progress
        table.append([
          "\(job.job)", job.name, job.state, "\(job.priority)",
          progress.epochs == 0 ? "-" : "\(progress.epoch)/\(progress.epochs)",
          "\(progress.step)", "\(job.workers)", fixed(progress.imagesPerSecond, 0), job.reason,
        ])
      }
      print(table.lines.joined(separator: "\n"))
    }
  }
}
