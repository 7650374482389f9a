// temper bench: what this machine makes of Temper's work, measured.

import ArgumentParser

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure training steps, convolutions and reductions on this machine.",
    discussion: """
      Medians with their spread; everything measured on an otherwise idle machine is worth more. `make bench-peers` \
      measures PyTorch beside it, in the same run.
      """,
    subcommands: [BenchStep.self, BenchGemm.self, BenchAllReduce.self, BenchStepRank.self, BenchAllReduceRank.self])
}
