// The schema: one `SchemaKey` per key of the specification.
//
// A key knows its path, what it takes, how it is documented, and how it is read from and written to a `JobSpec`.
// Parsing, validation, resolved text, suggestions and the reference page all walk `Schema.keys` (Schema+Table.swift).

/// A value between text and `JobSpec`.
enum SchemaValue: Sendable, Hashable {
  case integer(Int)
  case number(Double)
  case boolean(Bool)
  case text(String)
  case numbers([Double])
  case texts([String])
  case shares([String: Double])
}

/// What a key takes.
enum SchemaType: Sendable, Hashable {
  case integer(ClosedRange<Int>)
  /// `lowest` itself is refused when `excludesLowest`; likewise `highest`.
  case number(lowest: Double, highest: Double, excludesLowest: Bool, excludesHighest: Bool)
  case boolean
  case choice([String])
  case jobName
  case path
  /// One to sixteen numbers; > 0 when `positive`.
  case numbers(positive: Bool)
  case texts
  /// A mapping from class name to a share in 0...1.
  case shares
}

/// Another key's value on which this key depends.
struct SchemaCondition: Sendable, Hashable {
  var path: String
  var values: [String]

  /// `data.source is strip or idx`.
  var text: String { "\(path) is \(values.joined(separator: " or "))" }

  func holds(in spec: JobSpec) -> Bool {
    guard let key = Schema.key(at: path), case .text(let value) = key.read(spec) else { return false }
    return values.contains(value)
  }
}

/// One key of the specification.
struct SchemaKey: Sendable {
  var path: String
  var type: SchemaType
  var unit: String?
  var summary: String
  /// What to do about a refused value.
  var remedy: String?
  var isRequired = false
  /// The key may only be given, and is only printed, when this holds.
  var condition: SchemaCondition?
  /// The key must be given when this holds.
  var requiredWhen: SchemaCondition?
  var read: @Sendable (JobSpec) -> SchemaValue
  var write: @Sendable (inout JobSpec, SchemaValue) -> Void

  /// Adds what to do about a refused value.
  func hint(_ remedy: String) -> SchemaKey {
    var copy = self
    copy.remedy = remedy
    return copy
  }

  /// Requires the key to be given.
  func required() -> SchemaKey {
    var copy = self
    copy.isRequired = true
    return copy
  }

  /// Lets the key be given only when another key has one of some values.
  func only(_ path: String, _ values: String...) -> SchemaKey {
    var copy = self
    copy.condition = SchemaCondition(path: path, values: values)
    return copy
  }

  /// Requires the key when another key has one of some values.
  func requiredWith(_ path: String, _ values: String...) -> SchemaKey {
    var copy = self
    copy.requiredWhen = SchemaCondition(path: path, values: values)
    return copy
  }
}

/// The whole schema.
enum Schema {
  /// The format version that this code reads and writes.
  static let version = 1

  private static let keysByPath = Dictionary(uniqueKeysWithValues: keys.map { ($0.path, $0) })

  /// Paths of all mappings that hold keys, such as `training.optimizer`.
  static let sections: Set<String> = Set(keys.flatMap { prefixes(of: $0.path) })

  static func key(at path: String) -> SchemaKey? { keysByPath[path] }

  /// Names of the keys and sections directly inside a section; the root is "".
  static func children(of section: String) -> [String] {
    let prefix = section.isEmpty ? "" : section + "."
    var names: [String] = []
    for key in keys where key.path.hasPrefix(prefix) {
      let name = String(key.path.dropFirst(prefix.count).prefix { $0 != "." })
      if names.last != name { names.append(name) }
    }
    return names
  }

  /// `a.b.c` has the prefixes `a` and `a.b`.
  static func prefixes(of path: String) -> [String] {
    let parts = path.split(separator: ".")
    return (1..<max(1, parts.count)).map { parts[..<$0].joined(separator: ".") }
  }
}
