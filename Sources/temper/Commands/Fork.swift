// temper fork: a new job that goes on from a checkpoint of another, with some keys changed.

import ArgumentParser
import Checkpoint
import Communication
import Foundation
import JobSpec

struct Fork: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Submit a new job that goes on from a checkpoint.",
    discussion: """
      The new job is the checkpoint's own with the keys of --set changed (more epochs, another learning rate), and starts at the \
      checkpoint's step with its weights, optimizer and observers. The coordinator copies the checkpoint, so the old job \
      may go on or be removed. Keys that change the shape of the state (model, optimizer method, EMA) make the new job fail.
      """)

  @Option(
    help: ArgumentHelp(
      "Directory of a checkpoint, readable here and by the coordinator; a job's directory means its newest.",
      valueName: "checkpoint"), completion: .directory)
  var from: String
  @Option(
    name: .customLong("set"), parsing: .singleValue,
    help: ArgumentHelp(
      "Override one key of the job, e.g. training.epochs=20. May be repeated.", valueName: "key=value"))
  var overrides: [String] = []
  @Option(help: "Name of the new job. Default: the old one's with -fork.")
  var name: String?
  @Option(help: "Sending twice with the same key makes one job. Default: a new key each time.")
  var idempotencyKey: String?
  @OptionGroup var coordinator: CoordinatorOptions
  @OptionGroup var output: OutputOptions

  struct Forked: Encodable {
    var job: UInt64
    var name: String
    var step: UInt64
    var existed: Bool
  }

  func run() throws {
    try ending {
      let path = try TrainedModel.locate(from)
      let manifest = try readable { try CheckpointReader.verify(path) }
      let spec = try spec(of: path)
      let connection = try CoordinatorConnection(coordinator)
      let result = try connection.submit(spec, key: idempotencyKey ?? UUID().uuidString, checkpoint: path)
      if output.json {
        try printJSON(Forked(job: result.job, name: spec.name, step: manifest.step, existed: result.existed))
      } else {
        let note = result.existed ? "  (was there already)" : ""
        print("job \(result.job)  \(spec.name)  from step \(manifest.step)\(note)")
      }
    }
  }

  private func spec(of checkpoint: String) throws -> JobSpec {
    let file = "\(checkpoint)/\(CheckpointManifest.jobFileName)"
    guard let bytes = FileManager.default.contents(atPath: file) else {
      throw Failure(.dataError, "\(file): error: the checkpoint holds no job", hint: "take another checkpoint")
    }
    do {
      var spec = try JobSpec.parse(String(decoding: bytes, as: UTF8.self), file: file, overrides: overrides)
      if let name {
        spec = try JobSpec.parse(spec.resolvedYAML(), file: file, overrides: ["name=\(name)"])
      } else if !overrides.contains(where: { $0.hasPrefix("name=") }) {
        spec.name = String(spec.name.prefix(58)) + "-fork"
      }
      // What it starts from is the checkpoint, not what the old job started from.
      spec.model.initialize = .random
      return spec
    } catch {
      throw Failure(.configuration, "\(error)")
    }
  }
}
