// The step benchmark measures whole steps and accounts for all of their time.

import Foundation
import Testing

@testable import Benchmark

@Suite("step benchmark")
struct StepBenchmarkTests {
  private static func result(_ change: (inout StepBenchmark.Options) -> Void = { _ in }) throws -> StepBenchmark.Result
  {
    var options = StepBenchmark.Options()
    options.size = 32
    options.batch = 32
    options.threads = 2
    options.repetitions = 2
    options.warmUpSteps = 1
    change(&options)
    return try StepBenchmark(options).run()
  }

  @Test("every precision has its turns, and the parts of a step add up to its median")
  func parts() throws {
    let result = try Self.result()
    #expect(result.phases.map(\.precision) == [.fp32, .fp16, .qat])
    for phase in result.phases {
      let sum = phase.parts.values.reduce(0, +)
      #expect(abs(sum - phase.medianMilliseconds) < 1e-6 * phase.medianMilliseconds)
      for part in ["forward", "backward", "batchNorm", "optimizer", "other"] {
        #expect((phase.parts[part] ?? 0) > 0, "\(part) of \(phase.precision)")
      }
      #expect((phase.parts["quantize"] ?? 0 > 0) == (phase.precision == .qat))
      #expect(phase.milliseconds.minimum <= phase.medianMilliseconds)
      #expect(abs(phase.imagesPerSecond * phase.medianMilliseconds / 1e3 - 32) < 1e-9)
      #expect(phase.savedActivationBytes > 0)
      #expect(phase.savedActivationBytes <= phase.activationBytes)
      #expect(phase.skippedSteps == 0)
    }
    #expect(Set(result.timeRelativeToFP32.keys) == ["fp16", "qat"])
  }

  @Test("many steps on noise do not diverge, even with two values per BatchNorm and shard")
  func manySteps() throws {
    let result = try Self.result {
      ($0.batch, $0.repetitions, $0.precisions) = (16, 40, [.qat])
    }
    #expect(result.phases.map(\.skippedSteps) == [0])
  }

  @Test("the operations of a step are those of torchvision's ResNet-18: 1.814 G products forward at 224 pixels")
  func operations() throws {
    // torchvision's weights table says 1.81 GFLOPS (multiply-accumulates) for 1000 classes; the head of 5 has 995 * 512 less.
    var options = StepBenchmark.Options()
    (options.size, options.batch, options.virtualShards) = (224, 2, 1)
    let job = try BenchmarkJob(.fp32, options)
    let forward = 1_814_073_344.0 - 995 * 512
    let stem = 112.0 * 112 * 49 * 3 * 64
    #expect(job.operationsPerStep == 2 * 2 * (3 * forward - stem))
  }

  @Test("the object has the keys that scripts read")
  func keys() throws {
    let result = try Self.result { $0.precisions = [.qat] }
    let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(result)) as? [String: Any]
    let phase = try #require((object?["phases"] as? [[String: Any]])?.first)
    #expect(phase["precision"] as? String == "qat")
    #expect(phase["medianMilliseconds"] is Double)
    #expect(phase["imagesPerSecond"] is Double)
    #expect(phase["activationBytes"] is Int)
    #expect((phase["parts"] as? [String: Double])?["communication"] != nil)
    #expect(object?["size"] as? Int == 32)
    #expect(object?["batch"] as? Int == 32)
    #expect(object?["threads"] as? Int == 2)
  }

  @Test(
    "a sweep cuts a batch into as many shards as leave BatchNorm two values per channel",
    arguments: [(32, 8, 4), (32, 16, 8), (64, 8, 8), (224, 8, 8), (224, 64, 8)])
  func shards(size: Int, batch: Int, expected: Int) {
    #expect(StepSweep.virtualShards(size: size, batch: batch) == expected)
  }

  @Test("quartiles interpolate between neighbors")
  func distribution() {
    let distribution = Distribution([4, 1, 3, 2])
    #expect(distribution.median == 2.5)
    #expect(distribution.lowerQuartile == 1.75)
    #expect(distribution.upperQuartile == 3.25)
    #expect([distribution.minimum, distribution.maximum] == [1, 4])
    #expect(Distribution([7]).upperQuartile == 7)
  }
}
