import Foundation
import Kernels
import Testing

@Suite("Functions without libm")
struct TranscendentalTests {
  /// Error in ulp of the float nearest to the exact value.
  private func ulps(_ actual: Float, _ exact: Double) -> Double {
    abs(Double(actual) - exact) / Double(Float(exact).ulp)
  }

  /// Inputs spread over a range, with the ends.
  private func spread(_ range: ClosedRange<Float>, _ count: Int) -> [Float] {
    (0...count).map { range.lowerBound + (range.upperBound - range.lowerBound) * (Float($0) / Float(count)) }
  }

  private func apply(
    _ input: [Float],
    _ function: (any KernelSet.Type, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>, Int, Int) -> Void
  ) -> [Float] {
    let buffer = Buffer(input)
    return expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: 7, count: input.count)
      for part in 0..<parts { function(kernels, buffer.constant, input.count, output.pointer, part, parts) }
      #expect(output.intact)
      return output.values
    }
  }

  @Test("the exponential is within 2 ulp from the smallest normal result to the largest")
  func exponential() {
    let input = spread(-87.3365...88.7228, 20000) + spread(-0.4...0.4, 5000)
    let result = apply(input) { $0.exponential($1, count: $2, output: $3, part: $4, of: $5) }
    let worst = zip(input, result).map { ulps($1, exp(Double($0))) }.max() ?? .infinity
    #expect(worst <= 2)
    for level in levels {
      #expect(bits(input.prefix(500).map { level.kernels.exponential($0) }) == bits(Array(result.prefix(500))))
    }
  }

  @Test("the exponential's ends are 0, infinity and NaN, and e^0 is 1")
  func exponentialEnds() {
    let input: [Float] = [-87.4, -1000, -.infinity, 88.73, 1000, .infinity, 0, -0.0]
    let result = apply(input + [.nan]) { $0.exponential($1, count: $2, output: $3, part: $4, of: $5) }
    #expect(Array(result.dropLast()) == [0, 0, 0, .infinity, .infinity, .infinity, 1, 1])
    #expect(result.last?.isNaN == true)
  }

  @Test("the logarithm is within 2 ulp over all normal floats")
  func logarithm() {
    var random = Random(15)
    let anywhere = (0..<20000).map { _ in
      Float(bitPattern: UInt32(0x0080_0000 + random.next() % (0x7F80_0000 - 0x0080_0000)))
    }
    let input = anywhere + spread(0.5...2, 20001) + [.leastNormalMagnitude, .greatestFiniteMagnitude, 1]
    let result = apply(input) { $0.logarithm($1, count: $2, output: $3, part: $4, of: $5) }
    let worst = zip(input, result).filter { $0.0 != 1 }.map { ulps($1, log(Double($0))) }.max() ?? .infinity
    #expect(worst <= 2)
    #expect(result.last == 0)
  }

  @Test("the logarithm's ends are -infinity, infinity and NaN")
  func logarithmEnds() {
    let result = apply([0, -0.0, .leastNonzeroMagnitude, .infinity, -1, -.infinity, .nan]) {
      $0.logarithm($1, count: $2, output: $3, part: $4, of: $5)
    }
    #expect(Array(result.prefix(4)) == [-.infinity, -.infinity, -.infinity, .infinity])
    #expect(result.suffix(3).filter(\.isNaN).count == 3)
  }

  @Test("the sigmoid is within 3 ulp and saturates")
  func sigmoid() {
    let input = spread(-80...80, 4000)
    let result = apply(input) { $0.sigmoid($1, count: $2, output: $3, part: $4, of: $5) }
    // e^-x within 2 ulp, one addition, one quotient.
    let worst = zip(input, result).map { ulps($1, 1 / (1 + exp(-Double($0)))) }.max() ?? .infinity
    #expect(worst <= 3.5)
    #expect(apply([-200, 200]) { $0.sigmoid($1, count: $2, output: $3, part: $4, of: $5) } == [0, 1])
  }
}
