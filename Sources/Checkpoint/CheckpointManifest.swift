// manifest.json: what a checkpoint is, and the hashes by which its files are known to be whole.

import Foundation

/// The description of one checkpoint, format version 1.
public struct CheckpointManifest: Sendable, Hashable, Codable {
  /// One file of a checkpoint.
  public struct File: Sendable, Hashable, Codable {
    /// Name within the checkpoint's directory.
    public var name: String
    /// Its size.
    public var byteCount: Int
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    public var sha256: String

    /// Makes an entry.
    public init(name: String, byteCount: Int, sha256: String) {
      self.name = name
      self.byteCount = byteCount
      self.sha256 = sha256
    }

    /// The entry of a file with these bytes.
    public init(name: String, bytes: [UInt8]) {
      self.init(name: name, byteCount: bytes.count, sha256: SHA256.hexadecimal(of: bytes))
    }
  }

  /// The format version that this program writes, and the newest that it reads.
  public static let currentFormatVersion = 1
  /// The manifest's own file name.
  public static let fileName = "manifest.json"
  /// The model's tensors, under torchvision's names.
  public static let modelFileName = "model.safetensors"
  /// Everything else that the result depends on: optimizer, observers, averages, loss scale.
  public static let stateFileName = "state.safetensors"
  /// The resolved job, so that a checkpoint can be evaluated and exported by itself.
  public static let jobFileName = "job.yaml"

  /// Version of this format.
  public var formatVersion = Self.currentFormatVersion
  /// Name of the job.
  public var job: String
  /// Global steps committed.
  public var step: UInt64
  /// Epoch the next step belongs to, counted from 1.
  public var epoch: Int
  /// Steps of that epoch that are done.
  public var stepInEpoch: Int
  /// Generation that wrote it.
  public var generation: UInt64
  /// Phase at that step: fp32, fp16 or qat.
  public var phase: String
  /// Seed of the job.
  public var seed: UInt64
  /// SHA-256 of the resolved job spec.
  public var specSHA256: String
  /// Hash or name by which the dataset is known.
  public var datasetIdentity: String
  /// Version of the program that wrote it.
  public var programVersion: String
  /// The files, without this one.
  public var files: [File]
  /// `stateHash` of the tensors that the result depends on.
  public var stateSHA256: String
  /// Whether the job ended with it.
  public var isFinal: Bool

  private enum CodingKeys: String, CodingKey {
    case formatVersion, job, step, epoch, stepInEpoch, generation, phase, seed, specSHA256, datasetIdentity
    case programVersion, files, stateSHA256
    case isFinal = "final"
  }

  /// Makes a manifest.
  public init(
    job: String, step: UInt64, epoch: Int, stepInEpoch: Int, generation: UInt64, phase: String, seed: UInt64,
    specSHA256: String, datasetIdentity: String, programVersion: String, files: [File], stateSHA256: String,
    isFinal: Bool
  ) {
    self.job = job
    self.step = step
    self.epoch = epoch
    self.stepInEpoch = stepInEpoch
    self.generation = generation
    self.phase = phase
    self.seed = seed
    self.specSHA256 = specSHA256
    self.datasetIdentity = datasetIdentity
    self.programVersion = programVersion
    self.files = files
    self.stateSHA256 = stateSHA256
    self.isFinal = isFinal
  }

  /// The manifest as JSON, keys sorted.
  public func encoded() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return [UInt8](try encoder.encode(self))
  }

  /// Reads a manifest and checks its version and file names.
  ///
  /// - Throws: `damaged`, `unsupported` for a newer version, `invalidName`.
  public static func decode(_ bytes: [UInt8], location: String) throws -> CheckpointManifest {
    struct Version: Decodable { var formatVersion: Int }
    let decoder = JSONDecoder()
    do {
      let version = try decoder.decode(Version.self, from: Data(bytes)).formatVersion
      guard version == currentFormatVersion else {
        throw CheckpointError(
          .unsupported, "format version \(version); this program reads \(currentFormatVersion)",
          hint: "use the release of temper that wrote it, or a newer one", location: location)
      }
      let manifest = try decoder.decode(CheckpointManifest.self, from: Data(bytes))
      for file in manifest.files { try CheckpointName.check(file.name, location: location) }
      return manifest
    } catch let error as CheckpointError { throw error } catch {
      throw CheckpointError(.damaged, "it is not a checkpoint manifest", location: location, cause: error)
    }
  }
}

/// Names of files and directories.
enum CheckpointName {
  /// Lets through what stays inside the checkpoint's directory.
  static func check(_ name: String, location: String) throws {
    let isPlain = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
        true
      default: false
      }
    }
    guard isPlain, !name.isEmpty, name.utf8.count <= 128, !name.hasPrefix(".") else {
      throw CheckpointError(
        .invalidName, "the file name \(name.debugDescription)",
        hint: "letters, digits, dot, dash and underscore; not a dot first",
        location: location)
    }
  }

  static func directory(step: UInt64) -> String {
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  /// The step that a directory's name says; nil for anything else, unfinished ones too.
  static func step(ofDirectory name: String) -> UInt64? {
    guard name.hasPrefix("step-"), let step = UInt64(name.dropFirst(5)), directory(step: step) == name else {
      return nil
    }
    return step
  }
}
