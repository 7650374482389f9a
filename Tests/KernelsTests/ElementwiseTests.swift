import Kernels
import Testing

@Suite("Elementwise passes")
struct ElementwiseTests {
  /// Runs a pass over outputs that start as `before`, in all levels and parts.
  private func apply(
    _ before: [Float], _ body: (any KernelSet.Type, UnsafeMutablePointer<Float>, _ part: Int, _ parts: Int) -> Void
  ) -> [Float] {
    expectSameBits { kernels, parts in
      let output = Buffer(before)
      for part in 0..<parts { body(kernels, output.pointer, part, parts) }
      #expect(output.intact)
      return output.values
    }
  }

  @Test("ReLU, additions and scaling do what they say", arguments: counts)
  func simple(count: Int) {
    var random = Random(16)
    let (a, b) = (Buffer(random.floats(count)), Buffer(random.floats(count)))
    let before = random.floats(count)
    let relu = apply(before) { $0.reluForward(a.constant, count: count, output: $1, part: $2, of: $3) }
    #expect(relu == a.values.map { max(0, $0) })
    for accumulate in [false, true] {
      let back = apply(before) {
        $0.reluBackward(
          b.constant, activation: a.constant, count: count, gradientInput: $1, accumulate: accumulate, part: $2, of: $3)
      }
      #expect(
        back == (0..<count).map { (accumulate ? before[$0] : 0) + (a.pointer[$0] > 0 ? b.pointer[$0] : 0) })
    }
    for rectify in [false, true] {
      let sum = apply(before) {
        $0.add(a.constant, b.constant, count: count, relu: rectify, output: $1, part: $2, of: $3)
      }
      #expect(sum == zip(a.values, b.values).map { rectify ? max(0, $0 + $1) : $0 + $1 })
    }
    let total = apply(before) { $0.accumulate(a.constant, count: count, into: $1, part: $2, of: $3) }
    #expect(total == zip(before, a.values).map { $0 + $1 })
    let scaled = apply(before) { $0.scale($1, count: count, by: 0.3, part: $2, of: $3) }
    #expect(scaled == before.map { $0 * 0.3 })
  }

  @Test("NaN survives ReLU, so that a loss of numbers is seen")
  func notANumber() {
    let input = Buffer<Float>([.nan, -1])
    let result = apply([0, 0]) { $0.reluForward(input.constant, count: 2, output: $1, part: $2, of: $3) }
    #expect(result[0].isNaN && result[1] == 0)
  }

  @Test("pixels are centered and scaled by channel", arguments: [1, 3, 5], [0, 1, 17, 100])
  func decode(channels: Int, rows: Int) {
    var random = Random(17)
    let pixels = Buffer(random.integers(rows * channels, 0...255).map { UInt8($0) })
    let (mean, inverse) = (Buffer(random.floats(channels).map { $0 * 100 }), Buffer(random.floats(channels)))
    let result = apply(Array(repeating: .nan, count: rows * channels)) {
      $0.decodeUInt8(
        pixels.constant, rows: rows, channels: channels, mean: mean.constant, inverseDeviation: inverse.constant,
        output: $1, part: $2, of: $3)
    }
    #expect(
      result
        == pixels.values.enumerated().map {
          (Float($1) - mean.pointer[$0 % channels]) * inverse.pointer[$0 % channels]
        })
  }

  @Test("a single value that is not finite is found wherever it is", arguments: [Float.nan, .infinity, -.infinity])
  func finite(bad: Float) {
    for position in [0, 15, 16, 64, 99] {
      let values = Buffer<Float>(repeating: 3e38, count: 100)
      for level in levels {
        for parts in partCounts {
          func all() -> Bool {
            !(0..<parts).contains { !level.kernels.allFinite(values.constant, count: 100, part: $0, of: parts) }
          }
          values.pointer[position] = 3e38
          #expect(all())
          values.pointer[position] = bad
          #expect(!all())
        }
      }
    }
  }

  @Test("conversions to half round to nearest even and back exactly", arguments: counts)
  func half(count: Int) {
    var random = Random(18)
    let edges: [Float] = [0, -0.0, 65504, 65519.9, 65520, 1e-8, 6e-8, 1.000_488_3, 2049, .infinity, -.infinity, .nan]
    let input = Buffer((0..<count).map { $0 < edges.count ? edges[$0] : random.float() * 1000 })
    let rounded = apply(Array(repeating: 7, count: count)) {
      $0.roundToHalf(input.constant, count: count, output: $1, part: $2, of: $3)
    }
    let through = expectSameBits { kernels, parts in
      let halves = Buffer<Float16>(repeating: 7, count: count)
      let output = Buffer<Float>(repeating: 7, count: count)
      for part in 0..<parts {
        kernels.convertToHalf(
          input.constant, count: count, output: halves.pointer, saturating: false, part: part, of: parts)
      }
      for part in 0..<parts {
        kernels.convertToFloat(halves.constant, count: count, output: output.pointer, part: part, of: parts)
      }
      #expect(halves.intact && output.intact)
      return output.values
    }
    #expect(bits(rounded) == bits(through))
    for (x, y) in zip(input.values, rounded) { #expect(x.isNaN ? y.isNaN : y == Float(Float16(x))) }
    let saturated = Buffer<Float16>(repeating: 7, count: count)
    kernels.convertToHalf(
      input.constant, count: count, output: saturated.pointer, saturating: true, part: 0, of: 1)
    for (x, y) in zip(input.values, saturated.values) {
      #expect(x.isNaN ? y.isNaN : y == Float16(min(max(x, -65504), 65504)))
    }
  }
}
