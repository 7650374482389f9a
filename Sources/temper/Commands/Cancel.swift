// temper cancel: ends a job after a last checkpoint.

import ArgumentParser
import Communication

struct Cancel: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "End a job after a last checkpoint.",
    discussion: """
      Its checkpoints stay and `temper retry` goes on from the newest. `temper kill` ends it at once, without a checkpoint.
      """)

  @OptionGroup var control: JobControlOptions

  func run() throws { try ending { try control.carryOut(.cancel) } }
}
