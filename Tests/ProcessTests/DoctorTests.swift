// temper doctor on a cluster that works, on one that does not, and on settings from everywhere.
import Foundation
import Testing

/// What `temper doctor` prints with --json.
struct DoctorOutput: Decodable {
  struct Line: Decodable { var name, value, origin: String }
  struct Port: Decodable {
    var direction, what, endpoint: String
    var trouble: String?
  }
  struct Key: Decodable { var file, fingerprint, coordinator, trouble: String? }
  var settings: [Line]
  var key: Key
  var ports: [Port]
  var notes: [String]

  init(_ text: String) throws { self = try JSONDecoder().decode(Self.self, from: Data(text.utf8)) }
}

extension TestCluster {
  /// Runs `temper doctor` to its end.
  func doctor(_ arguments: [String], variables: [String: String] = [:]) throws -> (code: Int32, text: String) {
    let name = "doctor-\(UUID().uuidString.prefix(8))"
    let process = try launch("temper", ["doctor"] + arguments, log: name, variables: variables)
    return (try exitCode(of: process, within: 60), log(name))
  }
}

@Suite("temper doctor", .enabled(if: TestCluster.isEnabled), .serialized)
struct DoctorTests {
  @Test("shows every value with its origin, and that coordinator, workers and this machine reach each other")
  func healthy() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.startWorker("w-1")
    try cluster.waitForLog("w-1", "known to the coordinator")
    let file = cluster.directory.appendingPathComponent("worker.conf")
    try "name = from-file\nthreads = 5\n".write(to: file, atomically: true, encoding: .utf8)
    let (code, text) = try cluster.doctor(
      ["--config", file.path, "--json"],
      variables: ["TEMPER_COORDINATOR": cluster.endpoint, "SLURM_CPUS_PER_TASK": "3"])
    #expect(code == 0, "\(text)")
    let report = try DoctorOutput(text)
    let lines = Dictionary(uniqueKeysWithValues: report.settings.map { ($0.name, $0) })
    #expect(lines["coordinator"]?.value == cluster.endpoint && lines["coordinator"]?.origin == "TEMPER_COORDINATOR")
    #expect(lines["threads"]?.value == "3" && lines["threads"]?.origin == "SLURM_CPUS_PER_TASK")
    #expect(lines["name"]?.value == "from-file" && lines["name"]?.origin == "\(file.path):1")
    #expect(lines["data-interface"]?.origin == "default")
    #expect(report.ports.map(\.direction) == ["out", "out", "in"])
    #expect(report.ports.allSatisfy { $0.trouble == nil })
    let (_, table) = try cluster.doctor(["--coordinator", cluster.endpoint])
    #expect(table.contains("--coordinator") && table.contains("all is well"))
  }

  @Test("exits with 69 and says what cannot be reached")
  func unreachable() throws {
    let cluster = try TestCluster()
    let (code, text) = try cluster.doctor(["--coordinator", cluster.endpoint, "--timeout", "1"])
    #expect(code == 69)
    #expect(text.contains(cluster.endpoint) && text.contains("not all is well"))
  }

  @Test("exits with 64 for a wrong variable and with 78 for a wrong line of the file")
  func wrongSettings() throws {
    let cluster = try TestCluster()
    let variable = try cluster.doctor([], variables: ["TEMPER_THREADS": "many"])
    #expect(variable.code == 64 && variable.text.contains("TEMPER_THREADS"))
    let file = cluster.directory.appendingPathComponent("worker.conf")
    try "\nthread = 5\n".write(to: file, atomically: true, encoding: .utf8)
    let line = try cluster.doctor(["--config", file.path])
    #expect(line.code == 78 && line.text.contains("\(file.path):2") && line.text.contains("'threads'"))
  }
}
