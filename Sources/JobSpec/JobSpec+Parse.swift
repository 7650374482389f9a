// From text to values: compose YAML, collect the given keys with their places, decode them by the schema, check what
// must hold together. Every fault is collected; only a wrong version hides the others, since another schema applies.

import Yams

extension JobSpec {
  /// Longest specification that is read, in bytes.
  public static let byteLimit = 256 * 1_024

  /// Reads a job specification.
  ///
  /// - Parameters:
  ///   - text: YAML, at most `byteLimit` bytes.
  ///   - file: Name of the file, for messages only.
  ///   - overrides: `key=value` texts, as given to `--set`; each replaces what the text says, the last one wins.
  /// - Throws: every fault found, each with its code, place and remedy.
  public static func parse(
    _ text: String, file: String, overrides: [String] = []
  ) throws(JobSpecErrors) -> JobSpec {
    var parser = SpecificationParser(file: file)
    parser.collect(text)
    for override in overrides { parser.collect(override: override) }
    return try parser.finish()
  }
}

/// Where a value stands, ordered as faults are listed: the file from top to bottom, then the overrides.
private struct Place: Comparable {
  var line: Int
  var column: Int
  var text: String

  static func < (left: Place, right: Place) -> Bool {
    (left.line, left.column) < (right.line, right.column)
  }
}

private struct SpecificationParser {
  var file: String
  var given: [String: (node: Node, place: Place)] = [:]
  var sectionPlaces: [String: Place] = [:]
  var faults: [(place: Place, error: JobSpecError)] = []
  var overrideCount = 0
  /// Set when the text could not be composed, so absent keys mean nothing.
  var isUnreadable = false
  /// Keys that a suggestion has already named; not reported as missing too.
  var suggested: Set<String> = []

  init(file: String) { self.file = file }

  // MARK: Collecting

  mutating func collect(_ text: String) {
    guard text.utf8.count <= JobSpec.byteLimit else {
      isUnreadable = true
      add(.syntax, "the file has \(text.utf8.count) bytes; a job takes at most \(JobSpec.byteLimit)", at: start)
      return
    }
    guard let root = compose(text, override: nil) else {
      isUnreadable = true
      return
    }
    guard let root, !isEmpty(root) else { return }
    collect(root, section: "")
  }

  mutating func collect(override: String) {
    overrideCount += 1
    guard let equals = override.firstIndex(of: "=") else {
      let place = overridePlace(override)
      add(.override, "'\(override)' has no '='", "write --set key=value, as in --set training.epochs=2", at: place)
      return
    }
    let path = String(override[..<equals])
    let place = overridePlace(path)
    guard Schema.key(at: path) != nil else {
      if Schema.sections.contains(path) {
        add(
          .unknownKey, "\(path) is a section, not a key",
          "set one of its keys: \(Schema.children(of: path).map { "\(path).\($0)" }.joined(separator: ", "))", at: place
        )
      } else {
        addUnknown(path: path, section: "", at: place)
      }
      return
    }
    let text = String(override[override.index(after: equals)...])
    if let node = compose(text, override: place) {
      given[path] = (node ?? Node(""), place)
    }
  }

  private mutating func collect(_ node: Node, section: String) {
    guard let mapping = node.mapping else {
      let what = section.isEmpty ? "a job" : section
      add(.wrongType, "\(what) takes keys and values, as in key: value", at: place(node.mark))
      return
    }
    for (keyNode, value) in mapping {
      let keyPlace = place(keyNode.mark)
      guard let name = keyNode.scalar?.string else {
        add(.wrongType, "a key must be a word", at: keyPlace)
        continue
      }
      let path = section.isEmpty ? name : "\(section).\(name)"
      if Schema.key(at: path) != nil, !name.contains(".") {
        given[path] = (value, place(value.mark))
      } else if Schema.sections.contains(path), !name.contains(".") {
        sectionPlaces[path] = keyPlace
        if !isEmpty(value) { collect(value, section: path) }
      } else {
        addUnknown(path: path, section: section, at: keyPlace)
      }
    }
  }

  /// nil after a fault; the inner nil stands for an empty document.
  private mutating func compose(_ text: String, override: Place?) -> Node?? {
    func place(_ mark: Mark?) -> Place { override ?? self.place(mark) }
    do {
      return .some(try Yams.compose(yaml: text))
    } catch let error as YamlError {
      switch error {
      case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
        .composer(_, let problem, let mark, _):
        add(.syntax, "not YAML: \(problem)", at: place(mark))
      case .duplicatedKeysInMapping(let duplicates, let context):
        add(
          .syntax, "the key \(duplicates.joined(separator: ", ")) is given twice", "keep one of them",
          at: place(context.mark))
      case .reader(let problem, _, _, _):
        add(.syntax, "not YAML: \(problem)", "save the file as UTF-8 text", at: place(nil))
      default:
        add(.syntax, "not YAML: \(error)", at: place(nil))
      }
    } catch {
      add(.syntax, "not YAML: \(error)", at: place(nil))
    }
    return nil
  }

  // MARK: Deciding

  consuming func finish() throws(JobSpecErrors) -> JobSpec {
    var spec = JobSpec()
    if !isUnreadable {
      if let other = otherVersion() {
        throw JobSpecErrors(errors: [other])
      }
      var refused: Set<String> = []
      for key in Schema.keys {
        guard let (node, place) = given[key.path] else { continue }
        do {
          key.write(&spec, try key.type.decode(node))
        } catch {
          refused.insert(key.path)
          let remedy = key.remedy ?? suggestion(for: node, of: key)
          add(error.code, "\(key.path) \(error.text)", remedy, at: place)
        }
      }
      checkPresence(spec, refused: refused)
      for conflict in spec.conflicts() where refused.isDisjoint(with: conflict.paths) {
        let place = conflict.paths.compactMap { given[$0]?.place }.last ?? start
        add(.conflict, conflict.message, conflict.hint, at: place)
      }
    }
    guard faults.isEmpty else {
      throw JobSpecErrors(errors: faults.sorted { $0.place < $1.place }.map(\.error))
    }
    return spec
  }

  /// A version that this code does not read makes every other fault meaningless.
  private func otherVersion() -> JobSpecError? {
    guard let (node, place) = given["version"],
      case .integer(let version)? = try? SchemaType.integer(Int.min...Int.max).decode(node), version != Schema.version
    else { return nil }
    return JobSpecError(
      code: .version, message: "version is \(version); this release reads version \(Schema.version)",
      hint: "write version: \(Schema.version), or use the release that the job was written for", location: place.text)
  }

  /// Required keys that are absent, and keys that do not apply.
  private mutating func checkPresence(_ spec: JobSpec, refused: Set<String>) {
    for key in Schema.keys {
      if let (_, place) = given[key.path] {
        if let condition = key.condition, !refused.contains(condition.path), !condition.holds(in: spec) {
          add(
            .conflict, "\(key.path) applies only when \(condition.text)", "remove it, or change \(condition.path)",
            at: place)
        }
      } else if !suggested.contains(key.path), isMissed(key, in: spec) {
        let place = Schema.prefixes(of: key.path).reversed().compactMap { sectionPlaces[$0] }.first ?? start
        let reason = key.requiredWhen.map { " when \($0.text)" } ?? ""
        add(.missingKey, "\(key.path) is missing\(reason)", "it takes \(key.type.expectation)", at: place)
      }
    }
  }

  /// Whether an absent key had to be given.
  private func isMissed(_ key: SchemaKey, in spec: JobSpec) -> Bool {
    guard let condition = key.requiredWhen else { return key.isRequired }
    return given[condition.path] != nil && condition.holds(in: spec)
  }

  // MARK: Faults and places

  private mutating func addUnknown(path: String, section: String, at place: Place) {
    let near = Suggestions.nearest(to: path, in: Schema.keys.map(\.path) + Schema.sections.sorted(), section: section)
    if let near { suggested.insert(near) }
    let children = Schema.children(of: section).joined(separator: ", ")
    let hint = near.map { "did you mean \($0)?" } ?? "keys of \(section.isEmpty ? "a job" : section): \(children)"
    add(.unknownKey, "unknown key \(path)", hint, at: place)
  }

  private func suggestion(for node: Node, of key: SchemaKey) -> String? {
    guard case .choice(let choices) = key.type, let text = node.scalar?.string else { return nil }
    return Suggestions.nearest(to: text, in: choices).map { "did you mean \($0)?" }
  }

  private mutating func add(
    _ code: JobSpecError.Code, _ message: String, _ hint: String? = nil, at place: Place
  ) {
    faults.append((place, JobSpecError(code: code, message: message, hint: hint, location: place.text)))
  }

  private func isEmpty(_ node: Node) -> Bool {
    node.scalar.map { $0.string.isEmpty && ($0.style == .plain || $0.style == .any) } ?? false
  }

  private var start: Place { Place(line: 1, column: 1, text: "\(file):1:1") }

  private func place(_ mark: Mark?) -> Place {
    let line = mark?.line ?? 1
    let column = mark?.column ?? 1
    return Place(line: line, column: column, text: "\(file):\(line):\(column)")
  }

  private func overridePlace(_ key: String) -> Place {
    Place(line: .max, column: overrideCount, text: "--set \(key)")
  }
}
