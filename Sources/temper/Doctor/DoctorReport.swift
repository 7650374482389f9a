// What `temper doctor` says, as text and as JSON.

/// Settings, key and ports of a worker on this machine.
struct DoctorReport: Encodable {
  /// A setting.
  struct Line: Encodable {
    var name: String
    var value: String
    var origin: String
  }

  /// A way that was tried.
  struct Port: Encodable {
    /// "out" from this machine, "in" to it.
    var direction: String
    var what: String
    var endpoint: String
    /// nil when it was reached.
    var trouble: String?
    var milliseconds: Double?
    /// What a worker that meets this trouble exits with.
    var exitCode: Int32?
  }

  /// The key that proves who this machine is.
  struct Key: Encodable {
    var file: String
    var text: String
    var fingerprint: String?
    /// The coordinator's, which this machine takes no other for.
    var coordinator: String?
    /// nil when it can be used, or when none is needed.
    var trouble: String?
    /// What a worker with this trouble exits with.
    var exitCode: Int32?
  }

  var version: String
  var instructionSet: String
  var settings: [Line]
  var key: Key
  var ports: [Port]
  /// What was not tried, and why.
  var notes: [String] = []

  /// nil when all is well.
  var exitCode: Int32? { key.exitCode ?? ports.lazy.compactMap(\.exitCode).first }

  var text: String {
    var settingsTable = Table([("setting", .left), ("value", .left), ("from", .left)])
    for line in settings { settingsTable.append([line.name, line.value, line.origin]) }
    var portsTable = Table([("way", .left), ("what", .left), ("endpoint", .left), ("", .left)])
    for port in ports {
      let result = port.trouble ?? "reached in \(fixed(port.milliseconds ?? 0, 1)) ms"
      portsTable.append([port.direction, port.what, port.endpoint, result])
    }
    let lines =
      ["temper \(version), kernels for \(instructionSet)", ""] + settingsTable.lines
      + ["", "key \(key.file): \(key.text)", ""] + portsTable.lines
    let verdict = exitCode == nil ? "all is well" : "not all is well: a worker here would be of no use to the others"
    return (lines + notes + ["", verdict]).joined(separator: "\n")
  }
}
