// temper retry: a failed or cancelled job goes on.

import ArgumentParser
import Communication

struct Retry: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let a failed or cancelled job go on from its newest checkpoint.",
    discussion: """
      It keeps its number, its log and its checkpoints, and gets a fresh budget of restarts. Remove the cause first: temper logs \
      shows it.
      """)

  @OptionGroup var control: JobControlOptions

  func run() throws { try ending { try control.carryOut(.retry) } }
}
