// Reading specifications that are right.

import Testing

@testable import JobSpec

@Suite("parsing a job")
struct ParseTests {
  @Test("a short job gets every default")
  func defaults() throws {
    let spec = try JobSpec.parse(shortest, file: "job.yaml")
    var expected = JobSpec(name: "short")
    expected.model.architecture = .resnet10
    expected.training.epochs = 3
    expected.training.optimizer.learningRate = 0.1
    #expect(spec == expected)
  }

  @Test("the resolved text of the shipped jobs gives the same job", arguments: ["steel-strip", "fashion-mnist"])
  func shippedJobs(name: String) throws {
    let spec = try JobSpec.parse(try shippedJob(name), file: name)
    #expect(spec.name == name)
    #expect(spec.warnings.isEmpty)
    let again = try JobSpec.parse(spec.resolvedYAML(), file: "resolved")
    #expect(again == spec)
    #expect(again.resolvedYAML() == spec.resolvedYAML())
  }

  @Test("the resolved text of a job with every key changed gives the same job")
  func everyKeyChanged() throws {
    for (source, method, schedule) in [
      ("strip", "sgd", "cosine"), ("idx", "adamw", "oneCycle"), ("store", "sgd", "constant"),
    ] {
      var spec = JobSpec(name: "x")
      for key in Schema.keys where key.path != "version" { key.write(&spec, changed(key, from: key.read(spec))) }
      Schema.key(at: "data.source")?.write(&spec, .text(source))
      Schema.key(at: "training.optimizer.method")?.write(&spec, .text(method))
      Schema.key(at: "training.schedule.method")?.write(&spec, .text(schedule))
      // Keys that do not apply stay at their defaults; so do numbers that must fit each other.
      for key in Schema.keys where !(key.condition?.holds(in: spec) ?? true) { key.write(&spec, key.read(.defaults)) }
      spec.data.rareClasses = source == "strip" ? ["pit"] : ["a b", "true", "7"]
      spec.data.sampling.shares = source == "strip" ? ["pit": 0.25] : ["a b": 0.25, "\"\\\u{e9}\n": 1e-7]
      spec.data.strip.size = source == "strip" ? 72 : 64
      spec.training.batchSize = 132
      spec.training.virtualShards = 4
      spec.training.lossScale.initial = 1_024
      spec.model.width = 0.125
      let text = spec.resolvedYAML()
      #expect(try JobSpec.parse(text, file: "resolved") == spec, "\(text)")
    }
  }

  /// Another value of the key's type, inside its range.
  private func changed(_ key: SchemaKey, from value: SchemaValue) -> SchemaValue {
    switch (key.type, value) {
    case (.integer(let range), .integer(let value)): .integer(value < range.upperBound ? value + 1 : value - 1)
    case (.number(let low, let high, _, _), .number(let value)):
      .number(value == 0 ? min(high, 1) * 0.37 : max(low, value * 0.97))
    case (.boolean, .boolean(let value)): .boolean(!value)
    case (.choice(let choices), _): .text(choices[choices.count - 1])
    case (.path, _): .text("/some where/x: y #z")
    case (.jobName, _): .text("007-job")
    case (.numbers, _): .numbers([1.5])
    default: value
    }
  }

  @Test("every stored property of a job belongs to exactly one key")
  func everyPropertyHasAKey() {
    func leaves(_ value: Any, _ path: String) -> [String] {
      let mirror = Mirror(reflecting: value)
      let isSection = mirror.displayStyle == .struct && "\(type(of: value))" != "String" && !mirror.children.isEmpty
      guard isSection else { return [path] }
      return mirror.children.flatMap { leaves($0.value, path.isEmpty ? $0.label ?? "" : "\(path).\($0.label ?? "")") }
    }
    #expect(leaves(JobSpec.defaults, "").sorted() == Schema.keys.map(\.path).sorted())
  }

  @Test("overrides replace values by the same rules, and the last one wins")
  func overrides() throws {
    let spec = try JobSpec.parse(
      shortest, file: "job.yaml",
      overrides: [
        "training.epochs=5", "training.epochs=2", "data.rareClasses=[crack, pit]",
        "model.initialize=weights=1.safetensors",
      ])
    #expect(spec.training.epochs == 2)
    #expect(spec.data.rareClasses == ["crack", "pit"])
    #expect(spec.model.initialize == .file("weights=1.safetensors"))
    #expect(spec.warnings == ["quantization.startEpoch is 4 but training.epochs is 2: the job has no quantized phase"])
  }

  @Test("relative paths are joined to the folder of the job")
  func paths() throws {
    var spec = JobSpec(name: "x")
    spec.data.idx.directory = "mnist"
    spec.data.store.directory = "/absolute"
    spec.model.initialize = .file("../w.safetensors")
    let resolved = spec.resolvingPaths(relativeTo: "/jobs")
    #expect(resolved.data.idx.directory == "/jobs/mnist")
    #expect(resolved.data.store.directory == "/absolute")
    #expect(resolved.model.initialize == .file("/jobs/../w.safetensors"))
    #expect(JobSpec(name: "x").resolvingPaths(relativeTo: "/jobs") == JobSpec(name: "x"))
  }
}
