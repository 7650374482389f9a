// What a person gets for wrong input: one clear message, the right exit code, nothing half-written.
import Communication
import Foundation
import Testing

@Suite("The command line", .enabled(if: TestCluster.isEnabled), .serialized)
struct CommandLineTests {
  /// Runs temper to its end; returns its exit code and everything it printed.
  private func temper(_ cluster: TestCluster, _ arguments: [String]) throws -> (code: Int32, text: String) {
    let name = "temper-\(UUID().uuidString.prefix(8))"
    let code = try cluster.exitCode(of: try cluster.launch("temper", arguments, log: name), within: 60)
    return (code, cluster.log(name))
  }

  private func write(_ text: String, _ name: String, in cluster: TestCluster) throws -> String {
    let path = cluster.directory.appendingPathComponent(name).path
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  @Test("names file, line, column, the nearest key and exits with 78 for an unknown key")
  func unknownKey() throws {
    let cluster = try TestCluster()
    let path = try write(TinyJob.spec() + "\ntrainig:\n  epochs: 3\n", "job.yaml", in: cluster)
    let (code, text) = try temper(cluster, ["validate", path])
    #expect(code == 78)
    #expect(text.contains("\(path):"))
    #expect(text.contains("error: "))
    #expect(text.contains("training"))
  }

  @Test("says where an override is wrong")
  func override() throws {
    let cluster = try TestCluster()
    let path = try write(TinyJob.spec(), "job.yaml", in: cluster)
    let (code, text) = try temper(cluster, ["validate", path, "--set", "quantization.weights.bits=9"])
    #expect(code == 78)
    #expect(text.contains("--set quantization.weights.bits"))
    #expect(text.contains("2...8"))
  }

  @Test("exits with 66 for a job file that is not there")
  func missingJob() throws {
    let cluster = try TestCluster()
    let (code, text) = try temper(cluster, ["run", "nowhere.yaml"])
    #expect(code == 66)
    #expect(text.contains("there is no job file nowhere.yaml"))
  }

  @Test("names the package when the data is missing, before any process is started")
  func missingData() throws {
    let cluster = try TestCluster()
    let job = """
      version: 1
      name: missing
      data:
        source: idx
        idx:
          directory: \(cluster.directory.path)/no-such-data
        normalization:
          mean: [73]
          deviation: [90]
      model:
        architecture: resnet10
      training:
        epochs: 1
        optimizer:
          learningRate: 0.1
      quantization:
        enabled: false
      """
    let path = try write(job, "job.yaml", in: cluster)
    let directory = cluster.directory.appendingPathComponent("run").path
    let (code, text) = try temper(cluster, ["run", path, "--directory", directory])
    #expect(code == 66)
    #expect(text.contains("no-such-data"))
    #expect(text.contains("dataset-fashion-mnist"))
  }

  @Test("exits with 69 and the endpoint when there is no coordinator", arguments: ["jobs", "workers"])
  func unreachable(command: String) throws {
    let cluster = try TestCluster()
    let (code, text) = try temper(cluster, [command, "--coordinator", cluster.endpoint, "--timeout", "1"])
    #expect(code == 69)
    #expect(text.contains(cluster.endpoint))
    #expect(text.contains("hint: "))
  }

  @Test("refuses a second coordinator on the directory and on the port")
  func secondCoordinator() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    _ = try cluster.submit(TinyJob.spec())
    let sameDirectory = try cluster.launch(
      "temper-coordinator",
      ["--directory", cluster.directory.path + "/runs", "--listen", cluster.endpoint + "-2"], log: "same-directory")
    #expect(try cluster.exitCode(of: sameDirectory) == 78)
    #expect(cluster.log("same-directory").contains("hint: "))
    let port = "tcp://127.0.0.1:\(Int.random(in: 20_000..<30_000))"
    try cluster.startCoordinator(directory: "first", endpoint: port)
    try cluster.waitForLog("coordinator", "listening on \(port)")
    let samePort = try cluster.launch(
      "temper-coordinator", ["--directory", cluster.directory.path + "/second", "--listen", port, "--insecure"],
      log: "same-port")
    #expect(try cluster.exitCode(of: samePort) == 78)
    #expect(cluster.log("same-port").contains(port))
  }

  @Test("names the damaged file of a checkpoint and exits with 65, with 66 when there is none")
  func damagedCheckpoint() throws {
    let cluster = try TestCluster()
    try cluster.startCoordinator()
    try cluster.startWorker("w-1")
    let job = try cluster.submit(TinyJob.spec())
    _ = try cluster.result(job)
    let directory = try cluster.info(job).directory + "/checkpoints"
    let newest = try #require(try FileManager.default.contentsOfDirectory(atPath: directory).sorted().last)
    let checkpoint = "\(directory)/\(newest)"
    #expect(try temper(cluster, ["checkpoint", "verify", checkpoint]).code == 0)
    let file = URL(fileURLWithPath: "\(checkpoint)/model.safetensors")
    let bytes = try Data(contentsOf: file)
    try bytes.dropLast(7).write(to: file)
    for command in ["verify", "inspect", "hash"] {
      let (code, text) = try temper(cluster, ["checkpoint", command, checkpoint])
      #expect(code == 65)
      #expect(text.contains("model.safetensors"))
    }
    let (code, text) = try temper(cluster, ["checkpoint", "list", directory])
    #expect(code == 65)
    #expect(text.contains("DAMAGED"))
    #expect(try temper(cluster, ["evaluate", cluster.directory.path + "/nothing"]).code == 66)
  }

  @Test("runs a job with two workers, prints one JSON object, and a second run finds the job done")
  func run() throws {
    let cluster = try TestCluster()
    let path = try write(TinyJob.spec(), "job.yaml", in: cluster)
    let directory = cluster.directory.appendingPathComponent("run").path
    var hashes: [String] = []
    for _ in 1...2 {
      let (code, text) = try temper(cluster, ["run", path, "--directory", directory, "--json"])
      #expect(code == 0, "\(text)")
      let object = try #require(
        try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "one object and nothing else")
      hashes.append(try #require(object["sha256"] as? String))
      let paths = try #require(object["paths"] as? [String: Any])
      let model = try #require(paths["model"] as? String)
      #expect(FileManager.default.fileExists(atPath: model))
      let metrics = try #require(object["metrics"] as? [String: Any])
      #expect(metrics["float"] != nil && metrics["int8"] != nil)
      let phases = try #require(object["phases"] as? [[String: Any]])
      #expect(phases.compactMap { $0["phase"] as? String } == ["fp16", "qat"])
      let checkpoint = try #require(paths["checkpoint"] as? String)
      let hash = try temper(cluster, ["checkpoint", "hash", checkpoint])
      #expect(hash.text.trimmingCharacters(in: .whitespacesAndNewlines) == hashes.last)
    }
    #expect(hashes[0] == hashes[1])
  }

  @Test("interrupted, a run stores a checkpoint and leaves with 75; the same command goes on from there")
  func interruptedRun() throws {
    let cluster = try TestCluster()
    let path = try write(TinyJob.spec(), "job.yaml", in: cluster)
    let directory = cluster.directory.appendingPathComponent("run").path
    let command = ["run", path, "--directory", directory]
    for (number, sign) in [(SIGINT, "epoch 2/6"), (SIGTERM, "  qat  ")] {
      let process = try cluster.launch("temper", command, log: "run-\(number)")
      try cluster.waitForLog("run-\(number)", sign)
      cluster.signal(process, number)
      #expect(try cluster.exitCode(of: process, within: 60) == 75)
      let text = cluster.log("run-\(number)")
      #expect(text.contains("error: interrupted: tiny is paused at step "), "\(text)")
      #expect(!text.contains("in no checkpoint"))
    }
    let (code, text) = try temper(cluster, command + ["--json"])
    #expect(code == 0, "\(text)")
    let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    #expect(try object["sha256"] as? String == TinyJob.reference.get())
  }
}
