// temper kill: ends a job at once.

import ArgumentParser
import Communication

struct Kill: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "End a job at once, without a last checkpoint.",
    discussion: """
      Steps since its newest checkpoint are lost; its checkpoints stay. For a job whose workers or disk do not answer.
      """)

  @OptionGroup var control: JobControlOptions

  func run() throws { try ending { try control.carryOut(.kill) } }
}
