// The command line: one file per command in Commands/.

import ArgumentParser
import Communication

@main
struct Temper: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "temper",
    abstract: "Trains edge-vision networks with quantization-aware training on the machines you have.",
    discussion: """
      `temper run JOB` trains on this machine and ends with an INT8 model; `temper submit JOB` sends the job to a \
      coordinator whose workers may be anywhere. JOB is a YAML file; every key is explained in Docs/JobSpec.md.
      """,
    version: ProgramVersion.text,
    groupedSubcommands: [
      CommandGroup(name: "Train here", subcommands: [Run.self, Validate.self, Reference.self]),
      CommandGroup(
        name: "Train on a cluster",
        subcommands: [
          Submit.self, Fork.self, Jobs.self, Watch.self, Wait.self, Logs.self, Pause.self, Resume.self, Cancel.self,
          Kill.self, Retry.self, Workers.self, Doctor.self,
        ]),
      CommandGroup(name: "Measure", subcommands: [Bench.self]),
      CommandGroup(name: "Admit machines and people", subcommands: [Keys.self]),
      CommandGroup(name: "Use the result", subcommands: [CheckpointCommand.self, Evaluate.self, ExportCommand.self]),
      CommandGroup(name: "Work on Temper", subcommands: [Simulate.self]),
    ])
}
