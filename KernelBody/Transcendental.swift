// e^x and ln x without libm, whose last bits differ between machines.
// Cephes' single-precision forms (Moshier, expf.c and logf.c) with fused multiply-adds. Twin: Foundation's exp and log
// in double, compared over the whole range in TranscendentalTests.

/// e^x: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r, times 2^n.
@inline(__always)
func kernelExponential(_ x: Floats) -> Floats {
  let largest: Float = 88.722_84  // above ln of the largest float by less than an ulp
  let smallest: Float = -87.336_54  // ln 2^-126, the smallest normal
  // NaN fails both comparisons and so keeps its place in `bounded`.
  let bounded = x.replacing(with: largest, where: x .> largest).replacing(with: smallest, where: x .< smallest)
  let shifted = fma(bounded, Floats(repeating: 1.442_695_041), Floats(repeating: roundingMagic))
  let n = shifted - roundingMagic
  var r = fma(n, Floats(repeating: -0.693_359_375), bounded)
  r = fma(n, Floats(repeating: 2.121_944_4e-4), r)
  var p = Floats(repeating: 1.987_569_15e-4)
  p = fma(p, r, Floats(repeating: 1.398_199_950_7e-3))
  p = fma(p, r, Floats(repeating: 8.333_451_907_3e-3))
  p = fma(p, r, Floats(repeating: 4.166_579_589_4e-2))
  p = fma(p, r, Floats(repeating: 1.666_666_545_9e-1))
  p = fma(p, r, Floats(repeating: 5.000_000_120_1e-1))
  p = fma(p, r * r, r) + 1
  // 2^n as a product of two powers, because n reaches 128.
  let exponent = unsafeBitCast(shifted, to: Integers.self) &- Int32(bitPattern: roundingMagic.bitPattern)
  let high = (exponent &+ 1) &>> 1
  let low = exponent &- high
  let power = unsafeBitCast((high &+ 127) &<< 23, to: Floats.self)
  let rest = unsafeBitCast((low &+ 127) &<< 23, to: Floats.self)
  let result = p * power * rest
  // At `largest`, just above the logarithm of the largest float, the product itself is infinite.
  return result.replacing(with: 0, where: x .< smallest)
}

/// ln x: x = m * 2^e with m in [sqrt(1/2), sqrt 2), a polynomial in m - 1, + e ln 2.
@inline(__always)
func kernelLogarithm(_ x: Floats) -> Floats {
  let bits = unsafeBitCast(x, to: Integers.self)
  // Subtracting the bits of sqrt(1/2) makes the exponent field step at sqrt(1/2) instead of 1.
  let offset: Int32 = 0x3F35_04F3
  let moved = bits &- offset
  let exponent = moved &>> 23
  let mantissa = unsafeBitCast((moved & 0x007F_FFFF) &+ offset, to: Floats.self)
  let e = floats(exponent)
  let f = mantissa - 1
  var p = Floats(repeating: 7.037_683_629_2e-2)
  p = fma(p, f, Floats(repeating: -1.151_461_031_0e-1))
  p = fma(p, f, Floats(repeating: 1.167_699_874_0e-1))
  p = fma(p, f, Floats(repeating: -1.242_014_084_6e-1))
  p = fma(p, f, Floats(repeating: 1.424_932_278_7e-1))
  p = fma(p, f, Floats(repeating: -1.666_805_766_5e-1))
  p = fma(p, f, Floats(repeating: 2.000_071_476_5e-1))
  p = fma(p, f, Floats(repeating: -2.499_999_399_3e-1))
  p = fma(p, f, Floats(repeating: 3.333_333_117_4e-1))
  let square = f * f
  var y = p * f * square
  y = fma(e, Floats(repeating: -2.121_944_4e-4), y)
  y = fma(square, Floats(repeating: -0.5), y)
  let result = fma(e, Floats(repeating: 0.693_359_375), f + y)
  let smallestNormal: Float = 1.175_494_351e-38
  return result.replacing(with: -.infinity, where: x .< smallestNormal)
    .replacing(with: .nan, where: x .< 0)
    .replacing(with: x, where: x .== .infinity)
    .replacing(with: x, where: x .!= x)
}

extension Body {
  package static func exponential(_ x: Float) -> Float { kernelExponential(Floats(repeating: x))[0] }

  package static func logarithm(_ x: Float) -> Float { kernelLogarithm(Floats(repeating: x))[0] }

  package static func exponential(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(kernelExponential(load(input + i, lanes)), output + i, lanes)
    }
  }

  package static func logarithm(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(kernelLogarithm(load(input + i, lanes)), output + i, lanes)
    }
  }

  package static func sigmoid(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(1 / (1 + kernelExponential(-load(input + i, lanes))), output + i, lanes)
    }
  }
}
