// How a command ends when it cannot do what was asked: one message, a hint, an exit code of the design's section 7.5.

import ArgumentParser
import Foundation

/// Exit codes shared by every executable.
enum ExitStatus: Int32 {
  case usage = 64
  case dataError = 65
  case noInput = 66
  case unavailable = 69
  case bug = 70
  case cannotCreate = 73
  case requeue = 75
  case permission = 77
  case configuration = 78
}

/// A refusal: what was wrong with its value, and what to do.
struct Failure: Error {
  let status: ExitStatus
  let message: String
  let hint: String?

  init(_ status: ExitStatus, _ message: String, hint: String? = nil) {
    self.status = status
    self.message = message
    self.hint = hint
  }
}

/// Writes text to standard error, unbuffered.
func writeError(_ text: String) {
  FileHandle.standardError.write(Data((text + "\n").utf8))
}

/// Prints the refusal and makes the process end with its code.
func ending<Result>(_ body: () throws -> Result) throws -> Result {
  do {
    return try body()
  } catch let failure as Failure {
    writeError(failure.message.contains("error: ") ? failure.message : "error: \(failure.message)")
    if let hint = failure.hint { writeError("  hint: \(hint)") }
    throw ExitCode(failure.status.rawValue)
  }
}

/// Prints a value as one JSON object on standard output, keys sorted.
func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
