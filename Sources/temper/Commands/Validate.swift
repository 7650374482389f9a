// temper validate: checks a job without running it and shows every key as it will be used.

import ArgumentParser
import JobSpec

struct Validate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a job and print it with every default resolved.",
    discussion: "Exits with 78 when the job is wrong; each error is file:line:column with the remedy.")

  @OptionGroup var file: JobFileOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try ending {
      let spec = try file.load()
      if output.json {
        try printJSON(spec)
      } else {
        print(spec.resolvedYAML(), terminator: "")
      }
    }
  }
}

struct Reference: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the reference page of the job specification (Markdown).", shouldDisplay: false)

  func run() {
    print(JobSpecReference.markdown(), terminator: "")
  }
}
