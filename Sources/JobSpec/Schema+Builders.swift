// Builders of `SchemaKey`: each ties a path to a property of `JobSpec`.

extension SchemaKey {
  typealias Property<Value> = any WritableKeyPath<JobSpec, Value> & Sendable

  static func integer(
    _ path: String, _ property: Property<Int>, _ range: ClosedRange<Int>, unit: String? = nil, _ summary: String
  ) -> SchemaKey {
    SchemaKey(
      path: path, type: .integer(range), unit: unit, summary: summary,
      read: { .integer($0[keyPath: property]) },
      write: { if case .integer(let value) = $1 { $0[keyPath: property] = value } })
  }

  /// A seed: an integer from 0 to the largest `Int`.
  static func seed(_ path: String, _ property: Property<UInt64>, _ summary: String) -> SchemaKey {
    SchemaKey(
      path: path, type: .integer(0...Int.max), unit: nil, summary: summary,
      read: { .integer(Int(clamping: $0[keyPath: property])) },
      write: { if case .integer(let value) = $1 { $0[keyPath: property] = UInt64(value) } })
  }

  static func number(
    _ path: String, _ property: Property<Double>, from lowest: Double, to highest: Double,
    excludesLowest: Bool = false, excludesHighest: Bool = false, unit: String? = nil, _ summary: String
  ) -> SchemaKey {
    SchemaKey(
      path: path,
      type: .number(
        lowest: lowest, highest: highest, excludesLowest: excludesLowest, excludesHighest: excludesHighest),
      unit: unit, summary: summary,
      read: { .number($0[keyPath: property]) },
      write: { if case .number(let value) = $1 { $0[keyPath: property] = value } })
  }

  static func boolean(_ path: String, _ property: Property<Bool>, _ summary: String) -> SchemaKey {
    SchemaKey(
      path: path, type: .boolean, unit: nil, summary: summary,
      read: { .boolean($0[keyPath: property]) },
      write: { if case .boolean(let value) = $1 { $0[keyPath: property] = value } })
  }

  static func choice<Value: RawRepresentable<String> & CaseIterable & Sendable>(
    _ path: String, _ property: Property<Value>, _ summary: String
  ) -> SchemaKey {
    SchemaKey(
      path: path, type: .choice(Value.allCases.map(\.rawValue)), unit: nil, summary: summary,
      read: { .text($0[keyPath: property].rawValue) },
      write: { spec, value in
        if case .text(let name) = value, let choice = Value(rawValue: name) { spec[keyPath: property] = choice }
      })
  }

  static func text(
    _ path: String, _ property: Property<String>, _ type: SchemaType, _ summary: String
  ) -> SchemaKey {
    SchemaKey(
      path: path, type: type, unit: nil, summary: summary,
      read: { .text($0[keyPath: property]) },
      write: { if case .text(let value) = $1 { $0[keyPath: property] = value } })
  }

  static func texts(_ path: String, _ property: Property<[String]>, _ summary: String) -> SchemaKey {
    SchemaKey(
      path: path, type: .texts, unit: nil, summary: summary,
      read: { .texts($0[keyPath: property]) },
      write: { if case .texts(let value) = $1 { $0[keyPath: property] = value } })
  }

  static func numbers(
    _ path: String, _ property: Property<[Double]>, positive: Bool, unit: String, _ summary: String
  ) -> SchemaKey {
    SchemaKey(
      path: path, type: .numbers(positive: positive), unit: unit, summary: summary,
      read: { .numbers($0[keyPath: property]) },
      write: { if case .numbers(let value) = $1 { $0[keyPath: property] = value } })
  }

  static func shares(_ path: String, _ property: Property<[String: Double]>, _ summary: String) -> SchemaKey {
    SchemaKey(
      path: path, type: .shares, unit: nil, summary: summary,
      read: { .shares($0[keyPath: property]) },
      write: { if case .shares(let value) = $1 { $0[keyPath: property] = value } })
  }

  /// Starting weights: the word `random` or a path.
  static func initialization(
    _ path: String, _ property: Property<JobSpec.Model.Initialization>, _ summary: String
  ) -> SchemaKey {
    SchemaKey(
      path: path, type: .path, unit: nil, summary: summary,
      read: { spec in
        switch spec[keyPath: property] {
        case .random: .text("random")
        case .file(let file): .text(file)
        }
      },
      write: { spec, value in
        if case .text(let file) = value { spec[keyPath: property] = file == "random" ? .random : .file(file) }
      })
  }
}
