// The table that a run ends with: what quantization did to each class.

import Training

enum ComparisonTable {
  /// One row per class and a few for the whole; AP and recall of every model side by side.
  static func lines(_ comparison: ModelComparison) -> [String] {
    guard let first = comparison.columns.first else { return [] }
    var header: [(String, Table.Alignment)] = [("class", .left), ("train share", .right), ("test", .right)]
    for column in comparison.columns {
      header.append((column.title + " AP", .right))
      header.append(("recall", .right))
    }
    var table = Table(header)
    for (index, entry) in first.metrics.classes.enumerated() {
      var row = [entry.name, "\(fixed(comparison.prevalence[index] * 100, 1)) %", "\(entry.sampleCount)"]
      for column in comparison.columns {
        let values = column.metrics.classes[index]
        row += [cell(values.averagePrecision, 3), cell(values.recall, 3)]
      }
      table.append(row)
    }
    func whole(_ name: String, _ value: (ClassificationMetrics) -> Double?) {
      guard comparison.columns.contains(where: { value($0.metrics) != nil }) else { return }
      var row = [name, "", "\(first.metrics.sampleCount)"]
      for column in comparison.columns { row += [cell(value(column.metrics), 4), ""] }
      table.append(row)
    }
    whole("mean AP") { $0.meanAveragePrecision }
    whole("mean AP, rare classes") { $0.rareMeanAveragePrecision }
    whole("accuracy") { $0.accuracy }
    var lines = table.lines
    for column in comparison.columns {
      guard let interval = column.rareDifference else { continue }
      lines.append(
        "\(column.title) against \(first.title), mean AP of the rare classes: \(signed(interval.difference))"
          + " (95 % interval \(signed(interval.lower)) to \(signed(interval.upper)), paired bootstrap)")
    }
    return lines
  }

  private static func cell(_ value: Double?, _ digits: Int) -> String { value.map { fixed($0, digits) } ?? "-" }

  private static func signed(_ value: Double) -> String { (value < 0 ? "" : "+") + fixed(value, 4) }
}
