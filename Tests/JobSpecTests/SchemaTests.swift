// The schema itself, suggestions, and the generated page.

import Foundation
import Testing

@testable import JobSpec

@Suite("the schema")
struct SchemaTests {
  @Test("every key has a path of its own, a sentence, and a default inside its range")
  func keys() {
    #expect(Set(Schema.keys.map(\.path)).count == Schema.keys.count)
    for key in Schema.keys {
      #expect(key.summary.hasSuffix("."), "\(key.path)")
      #expect(Schema.key(at: key.condition?.path ?? "name") != nil, "\(key.path)")
      guard !key.isRequired, key.requiredWhen == nil else { continue }
      let text = shortest + "\n"
      let given = key.condition.map { ["\($0.path)=\($0.values[0])"] } ?? []
      let found = faults(text, overrides: given + ["\(key.path)=\(key.read(.defaults).yaml)"])
      #expect(found.filter { $0.message.hasPrefix(key.path + " ") }.isEmpty, "\(found)")
    }
  }

  @Test(
    "the edit distance counts insertions, deletions, substitutions and swaps",
    arguments: [
      ("", "", 0), ("a", "", 1), ("", "abc", 3), ("kitten", "sitting", 3), ("epohcs", "epochs", 1), ("ca", "abc", 3),
    ])
  func distance(left: String, right: String, expected: Int) {
    #expect(Suggestions.distance(Array(left.utf8), Array(right.utf8)) == expected)
    #expect(Suggestions.distance(Array(right.utf8), Array(left.utf8)) == expected)
  }

  @Test(
    "the nearest known key is offered",
    arguments: [
      ("trainig.epochs", "training.epochs"), ("training.learningRate", "training.optimizer.learningRate"),
      ("quantisation", "quantization"), ("zzz", nil), ("training.batchsize", "training.batchSize"), ("q", nil),
    ] as [(String, String?)])
  func suggestions(word: String, expected: String?) {
    let candidates = Schema.keys.map(\.path) + Schema.sections.sorted()
    #expect(Suggestions.nearest(to: word, in: candidates) == expected)
  }

  @Test("Docs/JobSpec.md is the page that the schema gives")
  func referencePage() throws {
    let page = root.appendingPathComponent("Docs/JobSpec.md")
    if ProcessInfo.processInfo.environment["TEMPER_WRITE_DOCS"] != nil {
      try JobSpecReference.markdown().write(to: page, atomically: true, encoding: .utf8)
    }
    let committed = try String(contentsOf: page, encoding: .utf8)
    #expect(
      committed == JobSpecReference.markdown(),
      "write it anew: TEMPER_WRITE_DOCS=1 swift test --filter JobSpecTests.SchemaTests")
  }
}
