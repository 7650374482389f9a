// temper logs: what happened to a job, line by line.

import ArgumentParser
import Communication
import Foundation

struct Logs: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Print the log of a job.")

  @Argument(help: "Number or name of the job.")
  var job: String
  @Flag(name: .shortAndLong, help: "Go on printing until the job is over.")
  var follow = false
  @OptionGroup var coordinator: CoordinatorOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try ending {
      let connection = try CoordinatorConnection(coordinator)
      let number = try connection.find(job).job
      var next: UInt64 = 0
      while true {
        let over = try connection.find("\(number)").isOver
        let page = try connection.logs(job: number, from: next)
        for line in page.lines {
          if output.json { try printJSON(["line": line]) } else { print(line) }
        }
        if page.next == next || page.lines.isEmpty {
          guard follow, !over else { return }
          Thread.sleep(forTimeInterval: 0.5)
        }
        next = page.next
      }
    }
  }
}
