// A whole coordinator in this process, over real sockets, with workers that speak the protocol by hand.
import Checkpoint
import Communication
import Foundation
import JobSpec
import Logging
import RunStore
import Synchronization
import Testing

@testable import Coordinator

/// A worker or a client by hand: keeps what arrives, waits for what is expected.
private final class Partner: Sendable {
  private let inbox = Mutex<[WireEnvelope]>([])
  private let connected = Mutex(0)
  let client: ControlClient

  init(_ endpoint: String) throws {
    let box = Box()
    client = try ControlClient(.init(endpoint: endpoint)) { event, _ in
      guard case .received(let envelope) = event else { return }
      box.partner.withLock { $0 }?.inbox.withLock { $0.append(envelope) }
    }
    box.partner.withLock { $0 = self }
  }

  private final class Box: Sendable { let partner = Mutex<Partner?>(nil) }

  func ask(_ body: WireEnvelope.OneOf_Body) throws -> WireEnvelope.OneOf_Body? {
    var envelope = WireEnvelope()
    envelope.body = body
    return try client.request(envelope, timeout: .seconds(10)).body
  }

  func tell(_ body: WireEnvelope.OneOf_Body) {
    var envelope = WireEnvelope()
    envelope.body = body
    let deadline = ContinuousClock.now + .seconds(10)
    while !client.send(envelope), ContinuousClock.now < deadline { Thread.sleep(forTimeInterval: 0.005) }
  }

  /// The next message for which `pick` gives something; earlier ones are dropped.
  func expect<Value>(_ what: String, _ pick: (WireEnvelope.OneOf_Body) -> Value?) throws -> Value {
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline {
      while let envelope = inbox.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
        if let body = envelope.body, let value = pick(body) { return value }
      }
      Thread.sleep(forTimeInterval: 0.005)
    }
    throw Missing(what: what)
  }

  struct Missing: Error { var what: String }
}

@Suite(.serialized) struct ServiceTests {
  private let scratch: Scratch
  private let configuration: CoordinatorConfiguration

  init() throws {
    scratch = try Scratch()
    configuration = CoordinatorConfiguration(
      directory: scratch.path + "/runs", endpoints: ["ipc://\(scratch.path)/control"])
  }

  private func start() throws -> (CoordinatorService, String) {
    let service = try CoordinatorService(configuration, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    return (service, service.endpoints[0])
  }

  private func stop(_ service: CoordinatorService) throws {
    service.stop()
    try service.run()
  }

  private var spec: JobSpec {
    var spec = JobSpec(name: "tiny")
    spec.data.strip.trainCount = 64
    spec.data.strip.testCount = 32
    spec.data.strip.size = 32
    spec.training.batchSize = 16
    spec.cluster.maximumWorkers = 1
    return spec
  }

  private func submit(_ partner: Partner, key: String = "k", weights: String = "") throws -> WireSubmitResult {
    var message = WireSubmitJob()
    message.spec = spec.resolvedYAML()
    message.idempotencyKey = key
    message.initialWeights = weights
    guard case .submitResult(let result) = try partner.ask(.submitJob(message)) else {
      throw Partner.Missing(what: "result")
    }
    return result
  }

  private func hello(_ partner: Partner, job: UInt64 = 0, generation: UInt64 = 0, step: UInt64 = 0) {
    var hello = WireWorkerHello()
    hello.incarnation = "one"
    hello.name = "host-1"
    hello.version = CoordinatorConfiguration.programVersion
    hello.job = job
    hello.generation = generation
    hello.committedStep = step
    partner.tell(.workerHello(hello))
  }

  /// Brings a worker to training.
  private func train(_ worker: Partner) throws -> WireGenerationBegin {
    hello(worker)
    let begin = try worker.expect("GenerationBegin") {
      if case .generationBegin(let message) = $0 { message } else { nil }
    }
    var position = WireMemberPosition()
    position.job = begin.job
    position.generation = begin.generation
    worker.tell(.memberPosition(position))
    let sync = try worker.expect("GenerationSync") {
      if case .generationSync(let message) = $0 { message } else { nil }
    }
    var ready = WireMemberReady()
    ready.job = begin.job
    ready.generation = begin.generation
    ready.step = sync.step
    worker.tell(.memberReady(ready))
    try worker.expect("GenerationStart") { if case .generationStart = $0 { () } else { nil } }
    return begin
  }

  private func upload(_ worker: Partner, _ begin: WireGenerationBegin, step: UInt64, final: Bool) throws
    -> WireCheckpointResult
  {
    let model: [UInt8] = Array(repeating: UInt8(truncatingIfNeeded: step), count: 700_000)
    let manifest = CheckpointManifest(
      job: "tiny", step: step, epoch: 1, stepInEpoch: 0, generation: begin.generation, phase: "fp16", seed: 1,
      specSHA256: "", datasetIdentity: "", programVersion: "0.1.0",
      files: [CheckpointManifest.File(name: "model.safetensors", bytes: model)], stateSHA256: "", isFinal: final)
    let files = [("model.safetensors", model), ("manifest.json", try manifest.encoded())]
    var message = WireCheckpointBegin()
    message.job = begin.job
    message.generation = begin.generation
    message.step = step
    message.final = final
    message.files = files.map { name, bytes in
      var file = WireCheckpointFile()
      file.name = name
      file.byteCount = UInt64(bytes.count)
      file.sha256 = SHA256.hexadecimal(of: bytes)
      return file
    }
    if case .checkpointResult(let refused) = try worker.ask(.checkpointBegin(message)) { return refused }
    for (name, bytes) in files {
      for start in stride(from: 0, to: bytes.count, by: 512 << 10) {
        var piece = WireFilePiece()
        piece.file = name
        piece.offset = UInt64(start)
        piece.bytes = Data(bytes[start..<min(start + (512 << 10), bytes.count)])
        if case .checkpointResult(let refused) = try worker.ask(.filePiece(piece)) { return refused }
      }
    }
    var commit = WireCheckpointCommit()
    commit.job = begin.job
    commit.generation = begin.generation
    commit.step = step
    guard case .checkpointResult(let result) = try worker.ask(.checkpointCommit(commit)) else {
      throw Partner.Missing(what: "CheckpointResult")
    }
    return result
  }

  @Test("a job from submission to its end: data, generation, epochs, checkpoints, lists, logs, result")
  func wholeJob() throws {
    let (service, endpoint) = try start()
    let client = try Partner(endpoint)
    let worker = try Partner(endpoint)
    #expect(try submit(client).job == 1)
    #expect(try submit(client).existed)
    var watch = WireWatch()
    watch.job = 1
    client.tell(.watch(watch))
    let begin = try train(worker)
    #expect(begin.members.map(\.name) == ["host-1"] && begin.members[0].shards.count == 8)

    var fetch = WireFetchPiece()
    fetch.file = begin.dataset + "/manifest.json"
    fetch.byteCount = 1 << 20
    guard case .filePiece(let manifest) = try worker.ask(.fetchPiece(fetch)) else {
      throw Partner.Missing(what: "piece")
    }
    #expect(manifest.error.isEmpty && manifest.bytes.count == Int(manifest.totalByteCount) && !manifest.bytes.isEmpty)

    var progress = WireStepProgress()
    progress.job = 1
    progress.generation = begin.generation
    progress.step = 4
    progress.loss = 1.5
    worker.tell(.stepProgress(progress))
    var epoch = WireEpochResult()
    epoch.job = 1
    epoch.generation = begin.generation
    epoch.epoch = 1
    epoch.step = 4
    epoch.seconds = 2
    epoch.json = "{\"accuracy\":0.5}"
    guard case .acknowledged = try worker.ask(.epochResult(epoch)) else { throw Partner.Missing(what: "acknowledged") }
    let stored = try upload(worker, begin, step: 4, final: true)
    #expect(stored.accepted && stored.path.hasSuffix("jobs/1-tiny/checkpoints/step-00000004"))

    guard case .workerList(let workers) = try client.ask(.listWorkers(WireListWorkers())) else {
      throw Partner.Missing(what: "workers")
    }
    #expect(workers.workers.map(\.name) == ["host-1"] && workers.workers[0].job == 1)

    for (number, text) in [(1, "the first"), (4, "the fourth")] as [(UInt64, String)] {
      var line = WireLogLines()
      line.job = 1
      line.lines = ["warning: \(text)"]
      line.first = number
      worker.tell(.logLines(line))
    }

    var finished = WireJobFinished()
    finished.job = 1
    finished.generation = begin.generation
    finished.step = 4
    finished.sha256 = "abc"
    finished.json = "{}"
    guard case .acknowledged = try worker.ask(.jobFinished(finished)) else {
      throw Partner.Missing(what: "acknowledged")
    }
    guard case .acknowledged = try worker.ask(.jobFinished(finished)) else {
      throw Partner.Missing(what: "acknowledged")
    }
    let over = try worker.expect("GenerationEnd") { if case .generationEnd(let message) = $0 { message } else { nil } }
    #expect(over.jobOver)
    let info = try client.expect("the end") { body -> WireJobInfo? in
      guard case .watchEvent(let event) = body, event.over else { return nil }
      return event.info
    }
    #expect(info.state == "finished" && info.sha256 == "abc" && info.reason == "finished at step 4")
    #expect(info.epochs.map(\.seconds) == [2] && info.progress.loss == 1.5)
    #expect(info.submittedUnixSeconds > 0 && info.endedUnixSeconds >= info.submittedUnixSeconds)

    var logs = WireFetchLogs()
    logs.job = 1
    guard case .logLines(let page) = try client.ask(.fetchLogs(logs)) else { throw Partner.Missing(what: "logs") }
    #expect(page.lines.contains { $0.hasSuffix("info finished: finished at step 4") })
    let told = page.lines.filter { $0.hasPrefix("[host-1] ") }
    #expect(
      told == [
        "[host-1] warning: the first", "[host-1] 2 lines before the next one did not arrive",
        "[host-1] warning: the fourth",
      ])
    let metrics = try String(contentsOfFile: info.directory + "/metrics.jsonl", encoding: .utf8)
    #expect(metrics.split(separator: "\n").count == 2)

    guard case .acknowledged = try client.ask(.shutdown(WireShutdown())) else {
      throw Partner.Missing(what: "acknowledged")
    }
    try service.run()
    client.client.close()
    worker.client.close()
  }

  @Test("a coordinator that is started again knows the job, its checkpoint and its members, who go on undisturbed")
  func restart() throws {
    let generation: WireGenerationBegin
    do {
      let (service, endpoint) = try start()
      let worker = try Partner(endpoint)
      _ = try submit(worker)
      generation = try train(worker)
      #expect(try upload(worker, generation, step: 4, final: false).accepted)
      try stop(service)
      worker.client.close()
    }
    let (service, endpoint) = try start()
    let worker = try Partner(endpoint)
    hello(worker, job: 1, generation: generation.generation, step: 9)
    try worker.expect("Welcome") { if case .welcome = $0 { () } else { nil } }
    guard case .jobList(let list) = try worker.ask(.listJobs(WireListJobs())) else {
      throw Partner.Missing(what: "jobs")
    }
    #expect(list.jobs.map(\.state) == ["running"])
    #expect(list.jobs.map(\.reason) == ["generation 1: 1 worker, step 9"])
    var checkpoints = WireListCheckpoints()
    checkpoints.job = 1
    guard case .checkpointList(let known) = try worker.ask(.listCheckpoints(checkpoints)) else {
      throw Partner.Missing(what: "checkpoints")
    }
    #expect(known.checkpoints.map(\.step) == [4])
    #expect(try upload(worker, generation, step: 12, final: false).accepted)
    var stale = generation
    stale.generation = 7
    let refused = try upload(worker, stale, step: 13, final: false)
    #expect(!refused.accepted && refused.reason == "generation 7 is over; the current one is 1")
    try stop(service)
    worker.client.close()
  }

  @Test("a worker that dies is noticed by its closed connection; the job waits and resumes from the checkpoint")
  func resume() throws {
    let (service, endpoint) = try start()
    let client = try Partner(endpoint)
    _ = try submit(client)
    let worker = try Partner(endpoint)
    let generation = try train(worker)
    #expect(try upload(worker, generation, step: 4, final: false).accepted)
    worker.client.close()
    var job = WireJobInfo()
    for _ in 0..<200 where job.state != "queued" {
      guard case .jobList(let list) = try client.ask(.listJobs(WireListJobs())) else { break }
      job = list.jobs[0]
      Thread.sleep(forTimeInterval: 0.01)
    }
    #expect(job.reason == "0 of 1 workers; from checkpoint step 4")
    let second = try Partner(endpoint)
    hello(second)
    let begin = try second.expect("GenerationBegin") {
      if case .generationBegin(let message) = $0 { message } else { nil }
    }
    #expect(begin.checkpoint == "jobs/1/checkpoints/step-00000004" && begin.checkpointStep == 4)
    var position = WireMemberPosition()
    position.job = 1
    position.generation = begin.generation
    second.tell(.memberPosition(position))
    let sync = try second.expect("GenerationSync") {
      if case .generationSync(let message) = $0 { message } else { nil }
    }
    #expect(sync.source == .checkpoint && sync.step == 4)
    try stop(service)
    client.client.close()
    second.client.close()
  }

  @Test("a spec that is not valid is refused with the place and the remedy; weights that cannot be read as well")
  func badSubmissions() throws {
    let (service, endpoint) = try start()
    let client = try Partner(endpoint)
    var message = WireSubmitJob()
    message.spec = spec.resolvedYAML().replacingOccurrences(of: "batchSize: 16", with: "batchSize: 15")
    guard case .submitResult(let result) = try client.ask(.submitJob(message)) else {
      throw Partner.Missing(what: "result")
    }
    #expect(result.error.contains("submitted job:") && result.error.contains("batchSize"))
    let weights = try submit(client, weights: "/nowhere/x.safetensors")
    #expect(weights.error.hasPrefix("/nowhere/x.safetensors: error: the initial weights cannot be copied"))
    try scratch.write("w.safetensors", [1, 2, 3])
    #expect(try submit(client, weights: scratch.path + "/w.safetensors").job == 1)
    #expect(FileManager.default.fileExists(atPath: scratch.path + "/runs/jobs/1-tiny/initial.safetensors"))
    try stop(service)
    client.client.close()
  }

  @Test("a directory in use and an endpoint in use are refused with exit code 78")
  func inUse() throws {
    let (service, _) = try start()
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let directory = #expect(throws: CoordinatorError.self) { try CoordinatorService(configuration, log: log) }
    #expect(directory?.code == .inUse && directory?.exitCode == 78)
    var tcp = configuration
    tcp.directory = scratch.path + "/a"
    tcp.endpoints = ["tcp://127.0.0.1:*"]
    tcp.insecure = true
    let first = try CoordinatorService(tcp, log: log)
    tcp.directory = scratch.path + "/b"
    tcp.endpoints = first.endpoints
    let endpoint = #expect(throws: CoordinatorError.self) { try CoordinatorService(tcp, log: log) }
    #expect(endpoint?.code == .address && endpoint?.exitCode == 78)
    try stop(first)
    try stop(service)
  }
}
