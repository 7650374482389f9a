// The table of convolutions covers the network and relates to the peak.

import Kernels
import Testing

@testable import Benchmark

@Suite("gemm benchmark")
struct GemmBenchmarkTests {
  private static func benchmark() -> GemmBenchmark {
    var options = GemmBenchmark.Options()
    options.size = 32
    options.batch = 8
    options.repetitions = 1
    return GemmBenchmark(options)
  }

  @Test(
    "the twenty convolutions of ResNet-18 have eleven shapes, and their products are torchvision's 1.814 G at 224 pixels"
  )
  func layers() throws {
    var options = GemmBenchmark.Options()
    options.size = 224
    let layers = try GemmBenchmark(options).distinctLayers()
    #expect(layers.count == 11)
    #expect(layers.reduce(0) { $0 + $1.names.count } == 20)
    #expect(layers.filter(\.isFirst).map(\.names) == [["conv1"]])
    let products = layers.reduce(0) { $0 + $1.names.count * $1.geometry.multiplyAddsPerSample }
    #expect(products == 1_814_073_344 - 1000 * 512)
  }

  @Test("every product is measured, and totals count layers as often as the network has them")
  func totals() throws {
    let result = try Self.benchmark().run()
    #expect(result.peak.fp32 > 0)
    #expect(result.peak.int8 > result.peak.fp32)
    for layer in result.layers {
      #expect((layer.inputGradient == nil) == (layer.names == ["conv1"]))
      #expect(layer.forward.shareOfPeak == layer.forward.gigaflopsPerSecond / result.peak.fp32)
    }
    let time = result.layers.reduce(0.0) { $0 + Double($1.names.count) * $1.forward.medianMilliseconds }
    let total = try #require(result.all["forward"])
    #expect(abs(total.milliseconds - time) < 1e-9)
    #expect((result.threeByThree["forward"]?.milliseconds ?? 0) < time)
  }
}
