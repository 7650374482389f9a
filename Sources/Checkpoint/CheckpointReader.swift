// Reads a checkpoint, believing nothing that its hashes do not confirm.

import Foundation
public import Graph

/// Verifies and loads checkpoint directories.
public enum CheckpointReader {
  /// Checks every file against the manifest: presence, size, SHA-256.
  ///
  /// - Throws: `missing`, `damaged`, `unsupported`, naming the file and both values.
  @discardableResult
  public static func verify(_ directory: String) throws -> CheckpointManifest {
    let manifest = try manifest(directory)
    for file in manifest.files {
      let path = "\(directory)/\(file.name)"
      let (byteCount, sha256) = try FileSystem.digest(path)
      guard byteCount == file.byteCount else {
        throw damaged("it has \(byteCount) bytes; the manifest says \(file.byteCount)", path)
      }
      guard sha256 == file.sha256 else {
        throw damaged("its SHA-256 is \(sha256); the manifest says \(file.sha256)", path)
      }
    }
    return manifest
  }

  /// The manifest alone, without looking at the files.
  ///
  /// - Throws: `missing`, `damaged`, `unsupported`.
  public static func manifest(_ directory: String) throws -> CheckpointManifest {
    let path = "\(directory)/\(CheckpointManifest.fileName)"
    return try CheckpointManifest.decode(try FileSystem.read(path), location: path)
  }

  /// The tensors of one safetensors file of a checkpoint, after checking that file.
  ///
  /// - Throws: `missing`, `damaged`, `unsupported`.
  public static func tensors(_ directory: String, file name: String) throws -> [NamedTensor] {
    let manifest = try manifest(directory)
    let path = "\(directory)/\(name)"
    guard let file = manifest.files.first(where: { $0.name == name }) else {
      throw CheckpointError(.missing, "\(name) is not in the manifest", location: directory)
    }
    let bytes = try FileSystem.read(path)
    let sha256 = SHA256.hexadecimal(of: bytes)
    guard sha256 == file.sha256 else {
      throw damaged("its SHA-256 is \(sha256); the manifest says \(file.sha256)", path)
    }
    return try Safetensors.decode(bytes, location: path)
  }

  private static func damaged(_ message: String, _ path: String) -> CheckpointError {
    CheckpointError(.damaged, message, hint: "use the checkpoint before this one", location: path)
  }
}
