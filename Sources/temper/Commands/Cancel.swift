// temper cancel: ends a job; its checkpoints stay.

import ArgumentParser
import Communication

struct Cancel: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Cancel a job. Its checkpoints stay, its workers turn to the next job.")

  @Argument(help: "Number or name of the job.")
  var job: String
  @OptionGroup var coordinator: CoordinatorOptions
  @OptionGroup var output: OutputOptions

  struct Outcome: Encodable {
    var job: UInt64
    var accepted: Bool
    var reason: String
  }

  func run() throws {
    try ending {
      let connection = try CoordinatorConnection(coordinator)
      let number = try connection.find(job).job
      let result = try connection.cancel(job: number)
      if output.json {
        try printJSON(Outcome(job: number, accepted: result.accepted, reason: result.reason))
      } else if result.accepted {
        print("job \(number) cancelled")
      }
      guard result.accepted else {
        throw Failure(
          .usage, "job \(number) cannot be cancelled: \(result.reason)", hint: "temper jobs shows its state")
      }
    }
  }
}
