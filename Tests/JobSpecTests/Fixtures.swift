// Texts that the tests share.

import Foundation
import Testing

@testable import JobSpec

/// The shortest job that is complete.
let shortest = """
  version: 1
  name: short
  data: {source: strip}
  model: {architecture: resnet10}
  training: {epochs: 3, optimizer: {learningRate: 0.1}}
  """

/// The root of the checkout.
let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

func shippedJob(_ name: String) throws -> String {
  try String(contentsOf: root.appendingPathComponent("Jobs/\(name).yaml"), encoding: .utf8)
}

/// The faults of a text, or none when it parses.
func faults(_ text: String, overrides: [String] = []) -> [JobSpecError] {
  do throws(JobSpecErrors) {
    _ = try JobSpec.parse(text, file: "job.yaml", overrides: overrides)
    return []
  } catch {
    return error.errors
  }
}
