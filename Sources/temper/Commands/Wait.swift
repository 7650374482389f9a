// temper wait: returns when a job is over, for scripts.

import ArgumentParser
import Communication
import Foundation

struct Wait: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Wait until a job is over or paused.",
    discussion: """
      Exits with 0 then. With --exit-status the code tells how it ended: 0 finished, 1 failed, 2 cancelled, 3 paused (it \
      will not end by itself). 75: still running when --limit had passed.
      """)

  @Argument(help: "Number or name of the job; a name means the newest job of that name.")
  var job: String
  @Flag(help: "Exit with a code that tells how the job ended.")
  var exitStatus = false
  @Option(help: "Seconds to wait at most. Default: as long as it takes.")
  var limit: Double?
  @OptionGroup var coordinator: CoordinatorOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    if let limit, !(limit > 0) { throw ValidationError("--limit is \(limit); it takes more than 0 seconds") }
  }

  func run() throws {
    try ending {
      let connection = try CoordinatorConnection(coordinator)
      let number = try connection.find(job).job
      let deadline = limit.map { Date(timeIntervalSinceNow: $0) } ?? .distantFuture
      while true {
        let info = try connection.find("\(number)")
        if info.isOver || info.isPaused {
          try JobPresentation.report(info, json: output.json)
          if exitStatus, let code = Self.codes[info.state], code != 0 { throw ExitCode(code) }
          return
        }
        guard Date() < deadline else {
          throw Failure(
            .requeue, "job \(number) is still \(info.state): \(info.reason)", hint: "wait longer with --limit")
        }
        Thread.sleep(forTimeInterval: 0.2)
      }
    }
  }

  private static let codes: [String: Int32] = ["finished": 0, "failed": 1, "cancelled": 2, "paused": 3]
}
