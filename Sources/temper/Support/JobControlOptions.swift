// What pause, resume, cancel, kill and retry have in common: a job, a coordinator, an answer in words.

import ArgumentParser
import Communication

struct JobControlOptions: ParsableArguments {
  @Argument(help: "Number or name of the job; a name means the newest job of that name.")
  var job: String
  @OptionGroup var coordinator: CoordinatorOptions
  @OptionGroup var output: OutputOptions

  struct Outcome: Encodable {
    var job: UInt64
    var accepted: Bool
    var reason: String
  }

  /// Asks the coordinator; a refusal ends the command with 64.
  func carryOut(_ verb: WireJobVerb) throws {
    let connection = try CoordinatorConnection(coordinator)
    let number = try connection.find(job).job
    let result = try connection.control(job: number, verb)
    if output.json {
      try printJSON(Outcome(job: number, accepted: result.accepted, reason: result.reason))
    } else if result.accepted {
      print("job \(number): \(result.reason)")
    }
    guard result.accepted else {
      throw Failure(.usage, "nothing was done: \(result.reason)", hint: "temper jobs shows the state of every job")
    }
  }
}
