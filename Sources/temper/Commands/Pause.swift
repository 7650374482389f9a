// temper pause: a job gives its workers back, without losing a step.

import ArgumentParser
import Communication

struct Pause: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Have a job give its workers back until it is resumed.",
    discussion: """
      A checkpoint of the newest step is stored first, within 20 seconds; no step is lost. `temper resume` goes on from it, \
      also after the coordinator was restarted. The result is the same, bit for bit.
      """)

  @OptionGroup var control: JobControlOptions

  func run() throws { try ending { try control.carryOut(.pause) } }
}
