// temper watch: follows a job until it is over.

import ArgumentParser
import Communication

struct Watch: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Follow a job until it is over.",
    discussion: "JOB is a number or a name (the newest of that name). Exits with 0 when the job finished, 1 otherwise.")

  @Argument(help: "Number or name of the job.")
  var job: String
  @OptionGroup var coordinator: CoordinatorOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try ending {
      let connection = try CoordinatorConnection(coordinator)
      let info = try connection.follow(job: try connection.find(job).job, display: LiveDisplay(quiet: output.json))
      try JobPresentation.report(info, json: output.json)
      try JobPresentation.requireFinished(info)
    }
  }
}
