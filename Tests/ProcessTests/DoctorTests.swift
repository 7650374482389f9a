// temper doctor on a cluster that works, on one that does not, and on settings from everywhere.
import Communication
import Foundation
import Testing

@Suite("temper doctor", .enabled(if: TestCluster.isEnabled), .serialized)
struct DoctorTests {
  /// What it prints with --json.
  private struct Report: Decodable {
    struct Line: Decodable { var name, value, origin: String }
    struct Port: Decodable {
      var direction, what, endpoint: String
      var trouble: String?
    }
    struct Key: Decodable { var file, fingerprint, coordinator, trouble: String? }
    var settings: [Line]
    var key: Key
    var ports: [Port]
  }

  private func doctor(
    _ cluster: TestCluster, _ arguments: [String], variables: [String: String] = [:]
  ) throws -> (code: Int32, text: String) {
    let name = "doctor-\(UUID().uuidString.prefix(8))"
    let process = try cluster.launch("temper", ["doctor"] + arguments, log: name, variables: variables)
    return (try cluster.exitCode(of: process, within: 60), cluster.log(name))
  }

  @Test("shows every value with its origin, and that coordinator, workers and this machine reach each other")
  func healthy() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.startWorker("w-1")
    try cluster.waitForLog("w-1", "known to the coordinator")
    let file = cluster.directory.appendingPathComponent("worker.conf")
    try "name = from-file\nthreads = 5\n".write(to: file, atomically: true, encoding: .utf8)
    let (code, text) = try doctor(
      cluster, ["--config", file.path, "--json"],
      variables: ["TEMPER_COORDINATOR": cluster.endpoint, "SLURM_CPUS_PER_TASK": "3"])
    #expect(code == 0, "\(text)")
    let report = try JSONDecoder().decode(Report.self, from: Data(text.utf8))
    let lines = Dictionary(uniqueKeysWithValues: report.settings.map { ($0.name, $0) })
    #expect(lines["coordinator"]?.value == cluster.endpoint && lines["coordinator"]?.origin == "TEMPER_COORDINATOR")
    #expect(lines["threads"]?.value == "3" && lines["threads"]?.origin == "SLURM_CPUS_PER_TASK")
    #expect(lines["name"]?.value == "from-file" && lines["name"]?.origin == "\(file.path):1")
    #expect(lines["data-interface"]?.origin == "default")
    #expect(report.ports.map(\.direction) == ["out", "out", "in"])
    #expect(report.ports.allSatisfy { $0.trouble == nil })
    let (_, table) = try doctor(cluster, ["--coordinator", cluster.endpoint])
    #expect(table.contains("--coordinator") && table.contains("all is well"))
  }

  @Test("looks at the key: there, closed to others, and known to the coordinator")
  func keys() throws {
    let cluster = try TestCluster()
    let endpoint = "tcp://127.0.0.1:\(Int.random(in: 20_000..<30_000))"
    try cluster.startCoordinator(also: [endpoint])
    let arguments = ["--coordinator", endpoint, "--timeout", "10", "--json"]
    func report(_ text: String) throws -> Report { try JSONDecoder().decode(Report.self, from: Data(text.utf8)) }
    try cluster.waitForLog("coordinator", "listening on")
    let good = try doctor(cluster, arguments)
    #expect(good.code == 0, "\(good.text)")
    #expect(try report(good.text).key.fingerprint != nil && report(good.text).key.coordinator != nil)
    let missing = try doctor(cluster, arguments + ["--keys", cluster.directory.path + "/nothing"])
    #expect(missing.code == 69)
    #expect(try report(missing.text).key.trouble?.contains("temper keys join") == true)
    let coordinator = try KeyRegistry(directory: cluster.directory.path + "/runs").coordinator.pair.publicKey
    try KeyFile(role: .worker, name: "x", pair: .make(), coordinator: coordinator)
      .write(cluster.directory.path + "/stranger/worker.key")
    let stranger = try doctor(cluster, arguments + ["--keys", cluster.directory.path + "/stranger"])
    #expect(stranger.code == 69)
    #expect(try report(stranger.text).key.trouble == nil, "the file is in order")
    #expect(try report(stranger.text).ports.first?.trouble?.contains("key") == true, "\(stranger.text)")
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: cluster.keysFolder + "/worker.key")
    let open = try doctor(cluster, arguments)
    #expect(open.code == 69)
    #expect(try report(open.text).key.trouble?.contains("chmod 600") == true, "\(open.text)")
  }

  @Test("exits with 69 and says what cannot be reached")
  func unreachable() throws {
    let cluster = try TestCluster()
    let (code, text) = try doctor(cluster, ["--coordinator", cluster.endpoint, "--timeout", "1"])
    #expect(code == 69)
    #expect(text.contains(cluster.endpoint) && text.contains("not all is well"))
  }

  @Test("exits with 64 for a wrong variable and with 78 for a wrong line of the file")
  func wrongSettings() throws {
    let cluster = try TestCluster()
    let variable = try doctor(cluster, [], variables: ["TEMPER_THREADS": "many"])
    #expect(variable.code == 64 && variable.text.contains("TEMPER_THREADS"))
    let file = cluster.directory.appendingPathComponent("worker.conf")
    try "\nthread = 5\n".write(to: file, atomically: true, encoding: .utf8)
    let line = try doctor(cluster, ["--config", file.path])
    #expect(line.code == 78 && line.text.contains("\(file.path):2") && line.text.contains("'threads'"))
  }
}
