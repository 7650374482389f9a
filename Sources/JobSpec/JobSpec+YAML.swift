// From values back to text: every key that applies, in the order of the schema.

extension JobSpec {
  /// The complete specification as YAML: every key that applies, defaults included, in a stable order.
  ///
  /// This text is what the coordinator and the workers get: `parse(resolvedYAML())` gives an equal value. A key whose
  /// condition does not hold (such as `data.idx.directory` with `data.source: strip`) is left out and must be at its
  /// default.
  public func resolvedYAML() -> String {
    var lines: [String] = []
    var open: [Substring] = []
    for key in Schema.keys where key.condition?.holds(in: self) ?? true {
      let parts = key.path.split(separator: ".")
      let sections = Array(parts.dropLast())
      let shared = zip(open, sections).prefix { $0 == $1 }.count
      for depth in shared..<max(shared, sections.count) {
        lines.append(String(repeating: "  ", count: depth) + sections[depth] + ":")
      }
      open = sections
      lines.append(String(repeating: "  ", count: sections.count) + parts[parts.count - 1] + ": " + key.read(self).yaml)
    }
    return lines.joined(separator: "\n") + "\n"
  }
}

extension SchemaValue {
  /// The value as YAML on one line.
  var yaml: String {
    switch self {
    case .integer(let value): "\(value)"
    case .number(let value): Self.text(of: value)
    case .boolean(let value): "\(value)"
    case .text(let value): Self.quoted(value)
    case .numbers(let values): "[" + values.map(Self.text(of:)).joined(separator: ", ") + "]"
    case .texts(let values): "[" + values.map(Self.quoted).joined(separator: ", ") + "]"
    case .shares(let shares):
      "{"
        + shares.sorted { $0.key < $1.key }.map { "\(Self.quoted($0.key)): \(Self.text(of: $0.value))" }
        .joined(separator: ", ") + "}"
    }
  }

  /// Shortest decimal text that reads back as the same number; whole numbers without a fraction.
  private static func text(of value: Double) -> String {
    let text = "\(value)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }

  /// Plain when that cannot be misread, else in double quotes with escapes.
  private static func quoted(_ text: String) -> String {
    let isWord = text.utf8.allSatisfy {
      (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || "-_./".utf8.contains($0)
    }
    let startsWithLetter =
      text.utf8.first.map { (97...122).contains($0) || (65...90).contains($0) || $0 == 47 } ?? false
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
    if isWord && startsWithLetter && !words.contains(text.lowercased()) { return text }
    var escaped = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": escaped += "\\\""
      case "\\": escaped += "\\\\"
      case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
        let digits = String(scalar.value, radix: 16)
        escaped += "\\x" + String(repeating: "0", count: 2 - digits.count) + digits
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped + "\""
  }
}
