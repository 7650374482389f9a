// A plain-text table: columns as wide as their widest cell, numbers to the right.
// Used by every command that reports.

struct Table {
  enum Alignment { case left, right }

  private var alignments: [Alignment]
  private var rows: [[String]]

  init(_ header: [(String, Alignment)]) {
    alignments = header.map(\.1)
    rows = [header.map(\.0)]
  }

  mutating func append(_ cells: [String]) {
    precondition(cells.count == alignments.count, "a row of \(cells.count) cells in \(alignments.count) columns")
    rows.append(cells)
  }

  /// The lines of the table, header first, without trailing blanks.
  var lines: [String] {
    let widths = alignments.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - row[column].count)
        return alignments[column] == .left ? row[column] + padding : padding + row[column]
      }
      let line = cells.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
  }
}

/// Text with at most `digits` digits after the point; no locale.
func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite else { return "-" }
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let rounded = (abs(value) * scale).rounded()
  guard rounded < 1e18 else { return "\(value)" }
  let whole = UInt64(rounded)
  let sign = value < 0 && whole > 0 ? "-" : ""
  guard digits > 0 else { return "\(sign)\(whole)" }
  let fraction = String(whole % UInt64(scale))
  return "\(sign)\(whole / UInt64(scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// A duration as a person reads it: "8 s", "2 min 05 s", "3 h 12 min".
func spokenDuration(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds >= 0 else { return "-" }
  let total = Int(seconds.rounded())
  switch total {
  case ..<60: return "\(total) s"
  case ..<3600: return "\(total / 60) min \(total % 60 < 10 ? "0" : "")\(total % 60) s"
  default: return "\(total / 3600) h \(total / 60 % 60) min"
  }
}

/// Bytes in the unit that leaves at most four digits: "812 KiB", "43 MiB".
func spokenBytes(_ bytes: UInt64) -> String {
  switch bytes {
  case ..<(1 << 10): return "\(bytes) B"
  case ..<(1 << 20): return "\(bytes >> 10) KiB"
  case ..<(10 << 30): return "\(bytes >> 20) MiB"
  default: return "\(bytes >> 30) GiB"
  }
}
