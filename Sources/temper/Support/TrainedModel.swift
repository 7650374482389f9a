// A checkpoint made usable: its job, its state, its data.
// A checkpoint holds the resolved job, so nothing else is needed; the data set is found beside the run or made again.

import Checkpoint
import Data
import Foundation
import JobSpec
import Quantization
import Training

struct TrainedModel {
  let directory: String
  let manifest: CheckpointManifest
  let spec: JobSpec
  let dataset: InMemoryDataset
  let plan: JobPlan
  let state: TrainingState

  /// Loads a checkpoint after verifying every file.
  ///
  /// - Parameters:
  ///   - path: a checkpoint, or a directory of checkpoints, of which the newest whole one is taken.
  ///   - dataDirectory: where data sets are kept; nil for the run's own, else a temporary place.
  init(at path: String, dataDirectory: String? = nil) throws {
    let directory = try Self.locate(path)
    let manifest = try readable { try CheckpointReader.verify(directory) }
    self.directory = directory
    self.manifest = manifest
    let jobPath = "\(directory)/\(CheckpointManifest.jobFileName)"
    guard let bytes = FileManager.default.contents(atPath: jobPath) else {
      throw Failure(.dataError, "\(jobPath): error: the checkpoint holds no job", hint: "take another checkpoint")
    }
    do {
      spec = try JobSpec.parse(String(decoding: bytes, as: UTF8.self), file: jobPath)
    } catch {
      throw Failure(.configuration, "\(error)")
    }
    let dataset = try Self.data(of: spec, checkpoint: directory, dataDirectory: dataDirectory)
    guard dataset.manifest.identity == manifest.datasetIdentity else {
      throw Failure(
        .dataError,
        "the data set is \(dataset.manifest.identity); \(directory) was trained on \(manifest.datasetIdentity)",
        hint: "give the directory of the original data with --data")
    }
    self.dataset = dataset
    let spec = self.spec
    let plan = try readable { try JobPlan(spec: spec, data: JobPlan.DataShape(dataset.manifest)) }
    self.plan = plan
    let state = try readable { try TrainingState.initial(plan: plan, initialWeights: nil) }
    self.state = state
    try readable {
      try state.restore(
        model: try CheckpointReader.tensors(directory, file: CheckpointManifest.modelFileName),
        state: try CheckpointReader.tensors(directory, file: CheckpointManifest.stateFileName), step: Int(manifest.step)
      )
    }
  }

  /// The checkpoint that a path means; says which damaged ones were passed over.
  static func locate(_ path: String) throws -> String {
    let path = URL(fileURLWithPath: path).standardizedFileURL.path
    if FileManager.default.fileExists(atPath: "\(path)/\(CheckpointManifest.fileName)") { return path }
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw Failure(
        .noInput, "\(path): error: there is no checkpoint", hint: "temper checkpoint list DIRECTORY shows them")
    }
    guard isDirectory.boolValue else {
      throw Failure(.noInput, "\(path): error: a checkpoint is a directory, this is a file")
    }
    for candidate in [path, "\(path)/checkpoints"] {
      let newest = CheckpointStore(directory: candidate).newest()
      for damaged in newest.damaged { writeError("warning: passed over: \(damaged)") }
      if let found = newest.found { return found.path }
    }
    throw Failure(
      .noInput, "\(path): error: no whole checkpoint here",
      hint: "a checkpoint is a directory step-… with \(CheckpointManifest.fileName)")
  }

  /// The data set: the run's own store if the checkpoint lies in a run, else made from the job.
  private static func data(
    of spec: JobSpec, checkpoint: String, dataDirectory: String?
  ) throws -> InMemoryDataset {
    // DIR/jobs/ID/checkpoints/step-N belongs to DIR/data.
    let run = URL(fileURLWithPath: checkpoint).appendingPathComponent("../../../..").standardizedFileURL
    let own = run.appendingPathComponent("data").path
    let directory =
      dataDirectory
      ?? (FileManager.default.fileExists(atPath: own)
        ? own : FileManager.default.temporaryDirectory.appendingPathComponent("temper-data-\(getuid())").path)
    return try readable { try StorePreparation.prepare(spec.data, directory: directory).load() }
  }
}

/// Runs a call of a library target and gives its errors the command line's shape.
func readable<Result>(_ body: () throws -> Result) throws -> Result {
  do {
    return try body()
  } catch let failure as Failure {
    throw failure
  } catch let error as CheckpointError {
    throw Failure(error.code == .missing ? .noInput : .dataError, error.description)
  } catch {
    throw Failure(.dataError, "\(error)")
  }
}
