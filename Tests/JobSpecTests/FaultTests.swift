// Reading specifications that are wrong: place, message, remedy, and no trap on any bytes.

import Testing

@testable import JobSpec

@Suite("faults of a job")
struct FaultTests {
  @Test("a fault says where, what, and what to do")
  func wording() {
    let text = shortest + "\nquantization:\n  weights:\n    bits: 9\n"
    #expect(
      faults(text).map(\.description) == [
        """
        job.yaml:8:11: error: quantization.weights.bits is 9; it takes 2...8
          hint: use 8 for TensorRT INT8
        """
      ])
  }

  @Test("every fault is reported, in the order of the text, overrides last")
  func collectsAll() {
    let text = """
      version: 1
      name: No Spaces
      data: {source: strp, sed: 3}
      model: {architectur: resnet10}
      training:
        epochs: three
        momentum: 0.9
      """
    let found = faults(text, overrides: ["cluster.minimumWorkers=0", "epochs=2", "nothing"])
    #expect(
      found.map(\.description) == [
        "job.yaml:2:7: error: name is 'No Spaces'; it takes 1 to 63 characters of a-z, 0-9 and '-'",
        "job.yaml:3:16: error: data.source is strp; it takes strip, idx, store\n  hint: did you mean strip?",
        "job.yaml:3:22: error: unknown key data.sed\n  hint: keys of data: source, strip, idx, store, rareClasses, "
          + "normalization, augmentation, sampling",
        "job.yaml:4:9: error: unknown key model.architectur\n  hint: did you mean model.architecture?",
        "job.yaml:5:1: error: training.optimizer.learningRate is missing\n  hint: it takes a number > 0 and <= 100",
        "job.yaml:6:11: error: training.epochs is 'three'; it takes 1...100000",
        "job.yaml:7:3: error: unknown key training.momentum\n  hint: did you mean training.optimizer.momentum?",
        "--set cluster.minimumWorkers: error: cluster.minimumWorkers is 0; it takes 1...64",
        "--set epochs: error: unknown key epochs\n  hint: did you mean training.epochs?",
        "--set nothing: error: 'nothing' has no '='\n  hint: write --set key=value, as in --set training.epochs=2",
      ])
  }

  @Test("a missing key is placed at its section, or at the start")
  func missing() {
    #expect(
      faults("version: 1\nname: a\ntraining: {epochs: 1}\n").map { "\($0.location) \($0.message)" } == [
        "job.yaml:1:1 data.source is missing", "job.yaml:1:1 model.architecture is missing",
        "job.yaml:3:1 training.optimizer.learningRate is missing",
      ])
    #expect(
      faults(shortest, overrides: ["data.source=idx"]).map(\.message) == [
        "data.idx.directory is missing when data.source is idx",
        "data.normalization.mean is missing when data.source is idx or store",
        "data.normalization.deviation is missing when data.source is idx or store",
      ])
  }

  @Test("an empty text lacks every required key", arguments: ["", "\n", "# nothing\n", "---\n", "--- \n...\n"])
  func empty(text: String) {
    #expect(faults(text).map(\.code) == Array(repeating: .missingKey, count: 6))
  }

  @Test("another version hides every other fault")
  func version() {
    let found = faults("version: 2\nnew: keys\n")
    #expect(
      found.map(\.description) == [
        "job.yaml:1:10: error: version is 2; this release reads version 1\n"
          + "  hint: write version: 1, or use the release that the job was written for"
      ])
    #expect(found.first?.code == .version)
  }

  @Test(
    "a key that does not apply is refused",
    arguments: [
      ("data.idx.directory=/x", "data.idx.directory applies only when data.source is idx"),
      ("model.stemStride=2", "model.stemStride applies only when model.stem is small"),
      ("training.optimizer.beta1=0.5", "training.optimizer.beta1 applies only when training.optimizer.method is adamw"),
      (
        "training.schedule.risingShare=0.5",
        "training.schedule.risingShare applies only when training.schedule.method is oneCycle"
      ),
      ("data.sampling.shares={pit: 0.5}", "data.sampling.shares applies only when data.sampling.method is balanced"),
      (
        "comparison.calibration.percentile=99",
        "comparison.calibration.percentile applies only when comparison.calibration.method is percentile"
      ),
    ])
  func conditions(override: String, message: String) {
    #expect(faults(shortest, overrides: [override]).map(\.message) == [message])
  }

  @Test(
    "keys that contradict each other are refused",
    arguments: [
      (["training.batchSize=100"], "training.batchSize is 100, not a multiple of training.virtualShards (8)"),
      (["training.virtualShards=6"], "training.virtualShards is 6, not a power of two"),
      (["model.width=0.2"], "model.width 0.2 gives 13, 26, 51, 102 channels"),
      (["training.schedule.warmupEpochs=4"], "training.schedule.warmupEpochs is 4.0, training.epochs 3"),
      (["training.lossScale.initial=1000"], "training.lossScale.initial is 1000.0, not a power of two"),
      (
        ["quantization.freezeObserversEpoch=3"],
        "quantization.freezeObserversEpoch is 3, before quantization.startEpoch (4)"
      ),
      (
        ["quantization.freezeBatchNormEpoch=1"],
        "quantization.freezeBatchNormEpoch is 1, before quantization.startEpoch (4)"
      ),
      (["cluster.minimumWorkers=17"], "cluster.minimumWorkers is 17, cluster.maximumWorkers 16"),
      (["data.strip.size=60"], "data.strip.size is 60, not a multiple of 8"),
      (["data.strip.size=32", "data.augmentation.shift=32"], "data.augmentation.shift is 32; patches have 32 pixels"),
      (["data.rareClasses=[crak]"], "data.rareClasses names crak, which the strip does not have"),
      (["data.normalization.mean=[1, 2]"], "data.normalization.mean has 2 values and deviation has 1"),
      (
        ["data.normalization.mean=[1, 2]", "data.normalization.deviation=[1, 2]"],
        "data.normalization has 2 channels; the strip is gray"
      ),
      (
        ["data.sampling.method=balanced", "data.sampling.shares={pit: 0.75, crack: 0.5}"],
        "the shares of data.sampling.shares add up to 1.25"
      ),
      (
        ["background", "scratch", "crack", "particle", "pit"].map { "data.strip.mix.\($0)=0" },
        "every share of data.strip.mix is 0"
      ),
    ])
  func conflicts(overrides: [String], message: String) {
    let found = faults(shortest, overrides: overrides)
    #expect(found.map(\.message) == [message])
    #expect(found.map(\.code) == [.conflict])
  }

  @Test(
    "a value of another type is refused",
    arguments: [
      ("training.epochs=3.5", "training.epochs is '3.5'; it takes 1...100000"),
      ("training.epochs='3'", "training.epochs is '3'; it takes 1...100000"),
      ("training.epochs=", "training.epochs is empty; it takes 1...100000"),
      ("training.epochs=99999999999999999999", "training.epochs is '99999999999999999999'; it takes 1...100000"),
      (
        "training.optimizer.learningRate=.nan",
        "training.optimizer.learningRate is '.nan'; it takes a number > 0 and <= 100"
      ),
      (
        "training.optimizer.learningRate=1e999",
        "training.optimizer.learningRate is '1e999'; it takes a number > 0 and <= 100"
      ),
      (
        "training.optimizer.learningRate=0x1p3",
        "training.optimizer.learningRate is '0x1p3'; it takes a number > 0 and <= 100"
      ),
      ("quantization.enabled=yes", "quantization.enabled is 'yes'; it takes true or false"),
      ("data.rareClasses=pit", "data.rareClasses is 'pit'; it takes a list of class names, each once"),
      ("data.rareClasses=[pit, pit]", "data.rareClasses is 'pit' twice; it takes a list of class names, each once"),
      ("data.normalization.mean=[]", "data.normalization.mean is a list of 0; it takes a list of 1 to 16 numbers"),
      (
        "data.normalization.deviation=[0]",
        "data.normalization.deviation is 0.0; it takes a list of 1 to 16 numbers > 0"
      ),
      ("name={a: b}", "name is a mapping; it takes 1 to 63 characters of a-z, 0-9 and '-'"),
      ("training.labelSmoothing=1", "training.labelSmoothing is 1.0; it takes a number >= 0 and < 1"),
      ("seed=-1", "seed is -1; it takes an integer >= 0"),
    ])
  func types(override: String, message: String) {
    #expect(faults(shortest, overrides: [override]).map(\.message) == [message])
  }

  @Test("text that is not YAML is refused with its place")
  func syntax() {
    #expect(faults("version: 1\nname: [a\n").map(\.location) == ["job.yaml:3:1"])
    #expect(faults("a: 1\na: 2\n").map(\.message) == ["the key a is given twice"])
    #expect(faults("- 1\n").map(\.message).first == "a job takes keys and values, as in key: value")
    #expect(faults("version: 1\n---\nversion: 1\n").map(\.code) == [.syntax])
    #expect(faults("version: \u{1}\n").map(\.code) == [.syntax])
    #expect(
      faults("training: 3\nversion: 1").map(\.message)
        .contains("training takes keys and values, as in key: value"))
    #expect(faults("training.epochs: 3").map(\.message).first == "unknown key training.epochs")
    #expect(faults("a: *b").map(\.code) == [.syntax])
    #expect(faults(shortest, overrides: ["training={epochs: 2}"]).map(\.code) == [.unknownKey])
    #expect(faults(shortest, overrides: ["name=[a"]).map(\.location) == ["--set name"])
  }

  @Test("huge and deeply nested texts are refused, not recursed into")
  func bombs() {
    #expect(faults(String(repeating: "#", count: JobSpec.byteLimit + 1)).map(\.code) == [.syntax])
    for unit in ["[", "{", "- ", "a: [", "? "] {
      let text = String(repeating: unit, count: 200_000 / unit.utf8.count)
      #expect(faults(text).map(\.code) == [.syntax], "\(unit)")
      #expect(faults(shortest, overrides: ["name=" + text]).map(\.code) == [.syntax], "\(unit)")
    }
  }

  @Test("no damaged text traps")
  func mutations() throws {
    let bytes = Array(try shippedJob("steel-strip").utf8)
    var state: UInt64 = 1
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let interesting = Array(" :-[]{}#'\"\n\t&*?|>!%@`,.0x\u{0}~".utf8)
    for _ in 0..<120 {
      var damaged = bytes
      for _ in 0...next(4) {
        let position = next(damaged.count)
        switch next(3) {
        case 0: damaged[position] = interesting[next(interesting.count)]
        case 1: damaged.remove(at: position)
        default: damaged[position] = UInt8(next(256))
        }
      }
      _ = faults(String(decoding: damaged, as: UTF8.self))
    }
  }
}
