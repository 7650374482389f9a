// temper checkpoint: list, inspect, verify, hash.

import ArgumentParser
import Checkpoint
import Foundation
import Graph

struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint", abstract: "List, inspect, verify and hash checkpoints.",
    subcommands: [List.self, Inspect.self, Verify.self, Hash.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the checkpoints below a directory, newest first.",
      discussion: "Every file of every checkpoint is hashed; a damaged one is named and makes the exit code 65.")

    @Argument(help: "A run's directory, a job's directory, or a directory of checkpoints.", completion: .directory)
    var directory: String
    @OptionGroup var output: OutputOptions

    struct Row: Encodable {
      var path: String
      var job: String
      var step: UInt64
      var epoch: Int
      var phase: String
      var final: Bool
      var whole: Bool
      var error: String?
    }

    func run() throws {
      try ending {
        let rows = try CheckpointSearch.stores(below: directory).flatMap { store in store.list().map(Self.row) }
        guard !rows.isEmpty else {
          throw Failure(.noInput, "\(directory): error: no checkpoints below this directory")
        }
        if output.json {
          try printJSON(rows)
        } else {
          var table = Table([
            ("job", .left), ("step", .right), ("epoch", .right), ("phase", .left), ("state", .left), ("path", .left),
          ])
          for row in rows {
            table.append([
              row.job, "\(row.step)", row.whole ? "\(row.epoch)" : "-", row.phase,
              row.whole ? (row.final ? "whole, final" : "whole") : "DAMAGED", row.path,
            ])
          }
          print(table.lines.joined(separator: "\n"))
        }
        for error in rows.compactMap(\.error) { writeError(error) }
        if rows.contains(where: { !$0.whole }) { throw ExitCode(ExitStatus.dataError.rawValue) }
      }
    }

    private static func row(_ entry: CheckpointStore.Entry) -> Row {
      do {
        let manifest = try CheckpointReader.verify(entry.path)
        return Row(
          path: entry.path, job: manifest.job, step: manifest.step, epoch: manifest.epochOfLastStep,
          phase: manifest.phase,
          final: manifest.isFinal, whole: true)
      } catch {
        return Row(
          path: entry.path, job: "-", step: entry.step, epoch: 0, phase: "-", final: false, whole: false,
          error: "\(error)")
      }
    }
  }

  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what a checkpoint holds: manifest and tensors.")

    @Argument(help: "A checkpoint, or a directory of which the newest is taken.", completion: .directory)
    var checkpoint: String
    @OptionGroup var output: OutputOptions

    struct TensorRow: Encodable {
      var file: String
      var name: String
      var type: String
      var shape: [Int]
    }

    struct Report: Encodable {
      var path: String
      var manifest: CheckpointManifest
      var tensors: [TensorRow]
    }

    func run() throws {
      try ending {
        let path = try TrainedModel.locate(checkpoint)
        let manifest = try readable { try CheckpointReader.verify(path) }
        let tensors = try [CheckpointManifest.modelFileName, CheckpointManifest.stateFileName].flatMap { file in
          try readable { try CheckpointReader.tensors(path, file: file) }.map {
            TensorRow(file: file, name: $0.name, type: $0.elementType.rawValue, shape: $0.shape)
          }
        }
        if output.json { return try printJSON(Report(path: path, manifest: manifest, tensors: tensors)) }
        print(
          """
          path      \(path)
          job       \(manifest.job)
          step      \(manifest.step), \(manifest.stepInEpoch == 0 ? "end" : "within") of epoch \(manifest.epochOfLastStep)\(manifest.isFinal ? ", final" : "")
          phase     \(manifest.phase)
          written   by temper \(manifest.programVersion), generation \(manifest.generation)
          seed      \(manifest.seed)
          data      \(manifest.datasetIdentity)
          state     sha256 \(manifest.stateSHA256)

          """)
        var table = Table([("file", .left), ("tensor", .left), ("type", .left), ("shape", .left)])
        for row in tensors {
          table.append([row.file, row.name, row.type, "[\(row.shape.map(String.init).joined(separator: ", "))]"])
        }
        print(table.lines.joined(separator: "\n"))
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check every file of a checkpoint against its hashes.",
      discussion: "Exits with 65 and names the file when something is damaged, with 66 when something is missing.")

    @Argument(help: "A checkpoint.", completion: .directory)
    var checkpoint: String
    @OptionGroup var output: OutputOptions

    struct Outcome: Encodable {
      var path: String
      var step: UInt64
      var files: Int
      var whole: Bool
    }

    func run() throws {
      try ending {
        let path = URL(fileURLWithPath: checkpoint).standardizedFileURL.path
        let manifest = try readable { try CheckpointReader.verify(path) }
        if output.json {
          try printJSON(Outcome(path: path, step: manifest.step, files: manifest.files.count, whole: true))
        } else {
          print("\(path): \(manifest.files.count) files are whole")
        }
      }
    }
  }

  struct Hash: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print one SHA-256 over weights, optimizer, observers and BatchNorm statistics.",
      discussion: "Two runs of one job agree exactly when their hashes do, whatever the cluster was.")

    @Argument(help: "A checkpoint, or a directory of which the newest is taken.", completion: .directory)
    var checkpoint: String
    @OptionGroup var output: OutputOptions

    func run() throws {
      try ending {
        let path = try TrainedModel.locate(checkpoint)
        let tensors = try [CheckpointManifest.modelFileName, CheckpointManifest.stateFileName].flatMap { file in
          try readable { try CheckpointReader.tensors(path, file: file) }
        }
        let hash = stateHash(tensors: tensors)
        if output.json {
          try printJSON(["path": path, "sha256": hash])
        } else {
          print(hash)
        }
      }
    }
  }
}

extension CheckpointManifest {
  /// The epoch that the last committed step belongs to; the manifest's own is that of the next step.
  var epochOfLastStep: Int { stepInEpoch == 0 ? max(0, epoch - 1) : epoch }
}

/// Finds directories of checkpoints.
enum CheckpointSearch {
  /// The directory itself, its `checkpoints`, and those of the jobs in it; only those that hold any.
  static func stores(below directory: String) throws -> [CheckpointStore] {
    guard FileManager.default.fileExists(atPath: directory) else {
      throw Failure(.noInput, "\(directory): error: there is no such directory")
    }
    let jobs = ((try? FileManager.default.contentsOfDirectory(atPath: "\(directory)/jobs")) ?? []).sorted()
    let candidates =
      [directory, "\(directory)/checkpoints"] + jobs.map { "\(directory)/jobs/\($0)/checkpoints" }
    return candidates.map(CheckpointStore.init(directory:)).filter { !$0.list().isEmpty }
  }
}
