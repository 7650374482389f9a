// The few file operations that the store needs, with errors that name the file.

import Foundation

enum FileAccess {
  static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

  /// Size and time of a file, to notice when it was replaced.
  static func stamp(_ path: String) throws(DataError) -> (byteCount: Int, modificationSeconds: Int) {
    do {
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      let date = attributes[.modificationDate] as? Date ?? .distantPast
      return (attributes[.size] as? Int ?? 0, Int(date.timeIntervalSince1970))
    } catch {
      throw DataError(code: .unreadable, message: "cannot be examined", location: path, cause: error)
    }
  }

  /// Reads a file of at most `limit` bytes; longer ones are refused before they are read.
  static func read(_ path: String, limit: Int) throws(DataError) -> [UInt8] {
    do {
      let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
      guard size <= limit else {
        throw DataError(
          code: .damaged, message: "\(size) bytes; at most \(limit) are expected", hint: "make the store again",
          location: path)
      }
      return Array(try Foundation.Data(contentsOf: URL(fileURLWithPath: path)))
    } catch let error as DataError {
      throw error
    } catch {
      let code: DataError.Code = exists(path) ? .unreadable : .missing
      throw DataError(
        code: code, message: code == .missing ? "no such file" : "cannot be read: \(error.localizedDescription)",
        location: path, cause: error)
    }
  }

  /// Writes a file and waits until the disk has it.
  static func write(_ bytes: [UInt8], to path: String) throws(DataError) {
    do {
      guard FileManager.default.createFile(atPath: path, contents: nil) else { throw CocoaError(.fileWriteUnknown) }
      let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
      defer { try? handle.close() }
      try handle.write(contentsOf: bytes)
      try handle.synchronize()
    } catch {
      throw unwritable(path, error)
    }
  }

  static func createDirectory(_ path: String) throws(DataError) {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw unwritable(path, error)
    }
  }

  /// Removes a file or directory if it exists.
  static func remove(_ path: String) throws(DataError) {
    guard exists(path) else { return }
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      throw unwritable(path, error)
    }
  }

  static func move(_ path: String, to target: String) throws(DataError) {
    do {
      try FileManager.default.moveItem(atPath: path, toPath: target)
    } catch {
      throw unwritable(target, error)
    }
  }

  private static func unwritable(_ path: String, _ error: any Error) -> DataError {
    DataError(
      code: .unwritable, message: "cannot be written: \(error.localizedDescription)",
      hint: "check free space and permissions", location: path, cause: error)
  }
}
