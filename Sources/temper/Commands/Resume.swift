// temper resume: a paused job goes on.

import ArgumentParser
import Communication

struct Resume: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Put a paused job back into the queue.",
    discussion: """
      It goes on from its newest checkpoint as soon as there are workers for it. A pause that has not come yet is taken back.
      """)

  @OptionGroup var control: JobControlOptions

  func run() throws { try ending { try control.carryOut(.resume) } }
}
