// The resolved job as JSON, for `temper validate --json`: the same keys as the YAML, the same order of precedence.

extension JobSpec: Encodable {
  /// Encodes every key that applies as nested objects, the tree that `resolvedYAML()` shows.
  public func encode(to encoder: any Encoder) throws {
    var root = Branch()
    for key in Schema.keys where key.condition?.holds(in: self) ?? true {
      root.insert(key.read(self), at: key.path.split(separator: ".").map(String.init)[...])
    }
    try root.encode(to: encoder)
  }

  /// A mapping of the tree.
  private struct Branch: Encodable {
    enum Child { case branch(Branch), value(SchemaValue) }

    struct Name: CodingKey {
      let stringValue: String
      var intValue: Int? { nil }
      init(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    var children: [String: Child] = [:]

    mutating func insert(_ value: SchemaValue, at path: ArraySlice<String>) {
      guard let name = path.first else { return }
      guard path.count > 1 else {
        children[name] = .value(value)
        return
      }
      var branch = Branch()
      if case .branch(let existing)? = children[name] { branch = existing }
      branch.insert(value, at: path.dropFirst())
      children[name] = .branch(branch)
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: Name.self)
      for (name, child) in children {
        let key = Name(stringValue: name)
        switch child {
        case .branch(let branch): try container.encode(branch, forKey: key)
        case .value(let value): try container.encode(value, forKey: key)
        }
      }
    }
  }
}

extension SchemaValue: Encodable {
  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .boolean(let value): try container.encode(value)
    case .text(let value): try container.encode(value)
    case .numbers(let values): try container.encode(values)
    case .texts(let values): try container.encode(values)
    case .shares(let shares): try container.encode(shares)
    }
  }
}
