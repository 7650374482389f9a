// From a YAML node, or the text after `--set key=`, to a value that the key takes, or to the reason why not.

import Yams

/// Why a value was refused: a completed sentence "KEY ...".
struct SchemaRefusal: Error {
  var code: JobSpecError.Code
  var text: String
}

extension SchemaType {
  /// Values of a list that a key takes at most; more is a mistake, not a job.
  static let listLimit = 1_000

  /// Decodes and checks one node.
  func decode(_ node: Node) throws(SchemaRefusal) -> SchemaValue {
    switch self {
    case .integer(let range):
      guard let value = Self.integer(node) else { throw wrongType(node) }
      guard range.contains(value) else { throw outOfRange("\(value)") }
      return .integer(value)
    case .number(let lowest, let highest, let excludesLowest, let excludesHighest):
      guard let value = Self.number(node) else { throw wrongType(node) }
      let fits = excludesLowest ? value > lowest : value >= lowest
      guard fits && (excludesHighest ? value < highest : value <= highest) else { throw outOfRange("\(value)") }
      return .number(value)
    case .boolean:
      switch Self.plain(node) {
      case "true": return .boolean(true)
      case "false": return .boolean(false)
      default: throw wrongType(node)
      }
    case .choice(let choices):
      guard let text = node.scalar?.string else { throw wrongType(node) }
      guard choices.contains(text) else { throw outOfRange(text) }
      return .text(text)
    case .jobName:
      guard let text = node.scalar?.string else { throw wrongType(node) }
      let isAllowed = text.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
      guard isAllowed && (1...63).contains(text.utf8.count) else { throw outOfRange("'\(text)'") }
      return .text(text)
    case .path:
      guard let text = node.scalar?.string, !text.isEmpty, !text.utf8.contains(0) else { throw wrongType(node) }
      return .text(text)
    case .numbers(let positive):
      return .numbers(try numbers(node, positive: positive))
    case .texts:
      guard let items = node.sequence, items.count <= Self.listLimit else { throw wrongType(node) }
      var texts: [String] = []
      for item in items {
        guard let text = item.scalar?.string, !text.isEmpty else { throw wrongType(item) }
        guard !texts.contains(text) else { throw outOfRange("'\(text)' twice") }
        texts.append(text)
      }
      return .texts(texts)
    case .shares:
      return .shares(try shares(node))
    }
  }

  private func numbers(_ node: Node, positive: Bool) throws(SchemaRefusal) -> [Double] {
    guard let items = node.sequence, (1...16).contains(items.count) else { throw wrongType(node) }
    var numbers: [Double] = []
    for item in items {
      guard let value = Self.number(item) else { throw wrongType(item) }
      guard !positive || value > 0, abs(value) <= 65_535 else { throw outOfRange("\(value)") }
      numbers.append(value)
    }
    return numbers
  }

  private func shares(_ node: Node) throws(SchemaRefusal) -> [String: Double] {
    guard let items = node.mapping, items.count <= Self.listLimit else { throw wrongType(node) }
    var shares: [String: Double] = [:]
    for (name, item) in items {
      guard let name = name.scalar?.string, let value = Self.number(item) else { throw wrongType(item) }
      guard (0...1).contains(value) else { throw outOfRange("\(name): \(value)") }
      shares[name] = value
    }
    return shares
  }

  /// The text of an unquoted scalar: quotes make a string, never a number or a boolean.
  private static func plain(_ node: Node) -> String? {
    guard let scalar = node.scalar, scalar.style == .plain || scalar.style == .any else { return nil }
    return scalar.string
  }

  /// Decimal integers, with `_` between digits allowed as in Swift and YAML 1.1.
  private static func integer(_ node: Node) -> Int? {
    plain(node).flatMap { Int($0.filter { $0 != "_" }) }
  }

  private static func number(_ node: Node) -> Double? {
    guard let text = plain(node), let value = Double(text.filter { $0 != "_" }), value.isFinite else { return nil }
    // Double(String) also reads hexadecimal and words such as "inf"; only decimal notation is meant here.
    return text.utf8.allSatisfy { (48...57).contains($0) || "+-._eE".utf8.contains($0) } ? value : nil
  }

  private func wrongType(_ node: Node) -> SchemaRefusal {
    let found =
      switch node {
      case .scalar(let scalar): scalar.string.isEmpty ? "empty" : "'\(scalar.string.prefix(80))'"
      case .mapping: "a mapping"
      case .sequence(let items): "a list of \(items.count)"
      case .alias: "an alias"
      }
    return SchemaRefusal(code: .wrongType, text: "is \(found); it takes \(expectation)")
  }

  private func outOfRange(_ value: String) -> SchemaRefusal {
    SchemaRefusal(code: .outOfRange, text: "is \(value.prefix(80)); it takes \(expectation)")
  }

  /// What the key takes, for messages and for the reference page.
  var expectation: String {
    switch self {
    case .integer(let range):
      return range.upperBound == .max
        ? "an integer >= \(range.lowerBound)" : "\(range.lowerBound)...\(range.upperBound)"
    case .number(let lowest, let highest, let excludesLowest, let excludesHighest):
      let low = SchemaValue.number(lowest).yaml
      let high = SchemaValue.number(highest).yaml
      return "a number \(excludesLowest ? ">" : ">=") \(low) and \(excludesHighest ? "<" : "<=") \(high)"
    case .boolean: return "true or false"
    case .choice(let choices): return choices.joined(separator: ", ")
    case .jobName: return "1 to 63 characters of a-z, 0-9 and '-'"
    case .path: return "a path"
    case .numbers(let positive): return "a list of 1 to 16 numbers\(positive ? " > 0" : "")"
    case .texts: return "a list of class names, each once"
    case .shares: return "a mapping of class names to shares in 0...1"
    }
  }
}
