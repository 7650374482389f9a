import Kernels
import Testing

/// Counts around the vector width and the cut of 64, and one of several shares.
let counts = [0, 1, 15, 16, 17, 63, 64, 65, 200, 1000]

@Suite("Quantization")
struct QuantizationTests {
  /// Values that rounding, clamping and masks get wrong: halves, ends, huge, infinite, not a number.
  private static let edges: [Float] = [
    0, -2e7, -12_582_914, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 127.4, 127.5, 128, -127.5, -128, -128.5, 1e9,
    -1e9, 3e38, -3e38,
    .infinity, -.infinity, .nan, .leastNonzeroMagnitude, 8_388_609, 0.499_999_97, -126.500_01,
  ]

  private static func inputs(_ count: Int) -> [Float] {
    var random = Random(6)
    return (0..<count).map { $0 < edges.count ? edges[$0] : random.float() * 150 }
  }

  @Test(
    "values are rounded to nearest even, clamped, and masked where the rounded integer is in range",
    arguments: counts, [(Int32(-127), Int32(127)), (-128, 127), (-8, 7)])
  func quantize(count: Int, range: (lowest: Int32, limit: Int32)) {
    let input = Buffer(Self.inputs(count))
    let words = (count + 15) / 16
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Int8>(repeating: 99, count: count)
      let mask = Buffer<UInt16>(repeating: 0xABCD, count: words)
      for part in 0..<parts {
        kernels.quantize(
          input.constant, count: count, inverseScale: 1, limit: range.limit, lowest: range.lowest,
          output: output.pointer, mask: mask.pointer, part: part, of: parts)
      }
      #expect(output.intact && mask.intact)
      return output.values.map { Float($0) } + mask.values.map { Float($0) }
    }
    var expected = Array(repeating: Float(0), count: count + words)
    for (i, x) in input.values.enumerated() where !x.isNaN {
      let integer = x.rounded(.toNearestOrEven)
      expected[i] = min(max(integer, Float(range.lowest)), Float(range.limit)) + 0
      if integer >= Float(range.lowest) && integer <= Float(range.limit) {
        expected[count + i / 16] += Float(1 << (i % 16))
      }
    }
    #expect(result == expected)
  }

  @Test("the scaled value is one product, not a quotient")
  func product() {
    let input = Buffer<Float>([0.1, 0.3, 0.7])
    let output = Buffer<Int8>(repeating: 0, count: 3)
    for level in levels {
      level.kernels.quantize(
        input.constant, count: 3, inverseScale: 35, limit: 127, lowest: -127, output: output.pointer, mask: nil,
        part: 0,
        of: 1)
      // 0.1 * 35 rounds to 3.5, 0.3 * 35 to 10.5, 0.7 * 35 to 24.5, and those to even.
      #expect(output.values == [0.1, 0.3, 0.7].map { Int8(($0 * Float(35)).rounded(.toNearestOrEven)) })
    }
  }

  @Test("dequantizing multiplies by the scale", arguments: counts)
  func dequantize(count: Int) {
    var random = Random(7)
    let input = Buffer(random.integers(count, -128...127).map { Int8($0) })
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: count)
      for part in 0..<parts {
        kernels.dequantize(input.constant, count: count, scale: 0.3, output: output.pointer, part: part, of: parts)
      }
      #expect(output.intact)
      return output.values
    }
    #expect(result == input.values.map { Float($0) * 0.3 })
  }

  @Test("the straight-through gradient passes where the mask is set", arguments: counts, [false, true])
  func applyMask(count: Int, accumulate: Bool) {
    var random = Random(8)
    let gradient = Buffer(random.floats(count))
    let before = random.floats(count)
    let mask = Buffer(random.integers((count + 15) / 16, 0...65535).map { UInt16($0) })
    let result = expectSameBits { kernels, parts in
      let output = Buffer(before)
      for part in 0..<parts {
        kernels.applyMask(
          gradient.constant, count: count, mask: mask.constant, output: output.pointer, accumulate: accumulate,
          part: part, of: parts)
      }
      #expect(output.intact)
      return output.values
    }
    let expected = (0..<count).map { i in
      let passed = mask.pointer[i / 16] >> UInt16(i % 16) & 1 == 1 ? gradient.pointer[i] : 0
      return accumulate ? before[i] + passed : passed
    }
    #expect(result == expected)
  }

  @Test("a mask of positive values has their bits, or clears those of others", arguments: counts, [false, true])
  func maskPositive(count: Int, intersecting: Bool) {
    let input = Buffer(Self.inputs(count))
    var random = Random(10)
    let before = random.integers((count + 15) / 16, 0...65535).map { UInt16($0) }
    let result = expectSameBits { kernels, parts in
      let mask = Buffer(before)
      for part in 0..<parts {
        kernels.maskPositive(
          input.constant, count: count, mask: mask.pointer, intersecting: intersecting, part: part, of: parts)
      }
      #expect(mask.intact)
      return mask.values.map { Float($0) }
    }
    let expected = before.indices.map { word in
      let positive = (0..<16).reduce(UInt16(0)) { bits, bit in
        let index = word * 16 + bit
        return index < count && input.values[index] > 0 ? bits | 1 << UInt16(bit) : bits
      }
      return Float(intersecting ? before[word] & positive : positive)
    }
    #expect(result == expected)
  }

  @Test("parts' minima, maxima and magnitudes merge to the whole's, without NaN", arguments: counts)
  func ranges(count: Int) {
    var random = Random(9)
    var values = random.floats(count)
    if count > 20 { values[19] = .nan }
    let input = Buffer(values)
    for level in levels {
      for parts in partCounts {
        let each = (0..<parts).map { level.kernels.minMax(input.constant, count: count, part: $0, of: parts) }
        let numbers = values.filter { !$0.isNaN }
        #expect(each.map(\.minimum).min() == numbers.min() ?? .infinity)
        #expect(each.map(\.maximum).max() == numbers.max() ?? -.infinity)
        let magnitudes = (0..<parts).map { level.kernels.absMax(input.constant, count: count, part: $0, of: parts) }
        #expect(magnitudes.max() == numbers.map(\.magnitude).max() ?? 0)
      }
    }
  }

  @Test("weights have a range and a scale per output channel", arguments: [1, 5, 16, 17, 40], [1, 9, 27])
  func weights(channels: Int, rows: Int) {
    var random = Random(10)
    let count = rows * channels
    let weights = Buffer(random.floats(count))
    let largest = expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: channels)
      for part in 0..<parts {
        kernels.absMaxPerChannel(
          weights.constant, rows: rows, channels: channels, output: output.pointer, part: part, of: parts)
      }
      #expect(output.intact)
      return output.values
    }
    func at(_ row: Int, _ k: Int) -> Int { panelIndex(row: row, rows: rows, k, outputs: channels) }
    #expect(largest == (0..<channels).map { k in (0..<rows).map { weights.pointer[at($0, k)].magnitude }.max() ?? 0 })
    // Half the range, so that some values clamp.
    let inverse = Buffer(largest.map { 254 / max($0, 0.01) })
    let scales = Buffer(largest.map { max($0, 0.01) / 254 })
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Int8>(repeating: 99, count: count)
      let real = Buffer<Float>(repeating: .nan, count: count)
      for part in 0..<parts {
        kernels.quantizeWeights(
          weights.constant, rows: rows, channels: channels, inverseScales: inverse.constant, limit: 127, lowest: -127,
          output: output.pointer, part: part, of: parts)
      }
      for part in 0..<parts {
        kernels.dequantizeWeights(
          output.constant, rows: rows, channels: channels, scales: scales.constant, output: real.pointer, part: part,
          of: parts)
      }
      #expect(output.intact && real.intact)
      return output.values.map { Float($0) } + real.values
    }
    for row in 0..<rows {
      for k in 0..<channels {
        let i = at(row, k)
        let integer = (weights.pointer[i] * inverse.pointer[k]).rounded(.toNearestOrEven)
        let clamped = min(max(integer, -127), 127)
        #expect(result[i] == clamped)
        #expect(result[count + i] == clamped * scales.pointer[k])
      }
    }
  }

  @Test("the histogram counts every finite magnitude once, the largest in the last bin")
  func histogram() {
    let input = Buffer<Float>([0, 0.24, -0.25, 0.5, 0.99, -1, 7, 1e30, .nan, .infinity, -0.0])
    for level in levels {
      let bins = Buffer<UInt64>(repeating: 0, count: 4)
      for _ in 0..<2 {
        level.kernels.absHistogram(
          input.constant, count: input.count, inverseBinWidth: 4, bins: bins.pointer, binCount: 4)
      }
      #expect(bins.intact && bins.values == [6, 2, 2, 8])
    }
  }
}
