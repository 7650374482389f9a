// The reference page of the job specification, generated from the schema; Docs/JobSpec.md is its committed copy.

/// The reference page of the job specification.
public enum JobSpecReference {
  /// The page as Markdown: one table per section, one row per key.
  public static func markdown() -> String {
    var page = """
      # Job specification

      Generated from the schema (`Sources/JobSpec/Schema+Table.swift`) by `JobSpecReference.markdown()`; a test compares
      the two.

      A job is a YAML file. Unknown keys are errors. `temper validate job.yaml` prints the job with every default filled
      in, and `--set key=value` replaces a value, with the dotted names below. Relative paths start at the folder of the
      job file.

      """
    var section = "-"
    for key in Schema.keys {
      let parent = Schema.prefixes(of: key.path).first ?? ""
      if parent != section {
        section = parent
        page += "\n## \(section.isEmpty ? "The job" : "`\(section)`")\n\n"
        page += "| Key | Takes | Default | Meaning |\n| --- | --- | --- | --- |\n"
      }
      page += row(of: key)
    }
    return page
  }

  private static func row(of key: SchemaKey) -> String {
    let takes = key.type.expectation + (key.unit.map { " (\($0))" } ?? "")
    var standard = "`\(key.read(.defaults).yaml)`"
    if key.isRequired { standard = "required" }
    if let condition = key.requiredWhen {
      standard = key.condition == condition ? "required" : standard + "; required when \(code(condition))"
    }
    let only = key.condition.map { " Only when \(code($0))." } ?? ""
    return "| `\(key.path)` | \(takes) | \(standard) | \(key.summary)\(only) |\n"
  }

  private static func code(_ condition: SchemaCondition) -> String {
    "`\(condition.path)` is " + condition.values.map { "`\($0)`" }.joined(separator: " or ")
  }
}
