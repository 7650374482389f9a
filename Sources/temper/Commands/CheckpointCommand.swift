// temper checkpoint: list, inspect, verify, hash.

import ArgumentParser
import Checkpoint
import Foundation

struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint", abstract: "List, inspect, verify and hash checkpoints.",
    subcommands: [List.self, Inspect.self, Verify.self, Hash.self])
}
