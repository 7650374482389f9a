// Symmetric quantization, straight-through masks, ranges and histograms.

internal import CIntrinsics

/// Sixteen scaled values to clamped integers and their in-range bits; NaN gives 0 and a clear bit.
///
/// Transparent, because inlining that is merely forced leaves it as a call from closures: three times slower.
@_transparent
private func quantized(_ scaled: Floats, _ lowest: Integers, _ limit: Integers) -> (values: SIMD16<Int8>, bits: UInt16)
{
  // Far values would break the rounding trick (|x| < 2^22); any bound beyond int8 keeps both result and mask.
  let number = scaled .== scaled
  let finite = Floats.zero.replacing(with: scaled, where: number)
  let near = finite.replacing(with: 1024, where: finite .> 1024).replacing(with: -1024, where: finite .< -1024)
  let integer = rounded(near)
  let (low, high) = (integer .< lowest, integer .> limit)
  let clamped = integer.replacing(with: lowest, where: low).replacing(with: limit, where: high)
  let inside = number .& .!(low .| high)
  return (temper_narrow_int8(clamped), bitMask(inside))
}

/// One bit per lane, lane 0 lowest.
@inline(__always)
private func bitMask(_ mask: SIMDMask<Integers>) -> UInt16 {
  temper_sign_bits(Integers.zero.replacing(with: -1, where: mask))
}

/// 2^lane; computed, because a stored vector would be initialized at first use, with a check in every loop.
@inline(__always)
private var laneBits: Integers {
  Integers(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
}

extension Body {
  package static func quantize(
    _ input: UnsafePointer<Float>, count: Int, inverseScale: Float, limit: Int32, lowest: Int32,
    output: UnsafeMutablePointer<Int8>, mask: UnsafeMutablePointer<UInt16>?, part: Int, of parts: Int
  ) {
    let (lowest, limit) = (Integers(repeating: lowest), Integers(repeating: limit))
    forVectors(count: count, part: part, of: parts) { i, lanes in
      let (values, bits) = quantized(load(input + i, lanes) * inverseScale, lowest, limit)
      store(values, output + i, lanes)
      if let mask { mask[i / 16] = bits & UInt16(truncatingIfNeeded: (1 << lanes) - 1) }
    }
  }

  package static func dequantize(
    _ input: UnsafePointer<Int8>, count: Int, scale: Float, output: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(floats(temper_widen_int8(load(input + i, lanes))) * scale, output + i, lanes)
    }
  }

  package static func dequantizeWeights(
    _ input: UnsafePointer<Int8>, rows: Int, channels: Int, scales: UnsafePointer<Float>,
    output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(share(channels, alignment: 16, part: part, of: parts)) { k, lanes in
      let scale = load(scales + k, lanes)
      for i in stride(from: rows * k, to: rows * (k + lanes), by: lanes) {
        store(floats(temper_widen_int8(load(input + i, lanes))) * scale, output + i, lanes)
      }
    }
  }

  package static func applyMask(
    _ gradient: UnsafePointer<Float>, count: Int, mask: UnsafePointer<UInt16>, output: UnsafeMutablePointer<Float>,
    accumulate: Bool, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      let set = (Integers(repeating: Int32(mask[i / 16])) & laneBits) .!= .zero
      let passed = Floats.zero.replacing(with: load(gradient + i, lanes), where: set)
      store(accumulate ? load(output + i, lanes) + passed : passed, output + i, lanes)
    }
  }

  package static func maskPositive(
    _ input: UnsafePointer<Float>, count: Int, mask: UnsafeMutablePointer<UInt16>, intersecting: Bool, part: Int,
    of parts: Int
  ) {
    // Lanes beyond the end are zero.
    forVectors(count: count, part: part, of: parts) { i, lanes in
      let bits = bitMask(load(input + i, lanes) .> .zero)
      mask[i / 16] = intersecting ? mask[i / 16] & bits : bits
    }
  }

  package static func minMax(
    _ input: UnsafePointer<Float>, count: Int, part: Int, of parts: Int
  ) -> (minimum: Float, maximum: Float) {
    var (low, high) = (Floats(repeating: .infinity), Floats(repeating: -.infinity))
    let range = share(count, alignment: 64, part: part, of: parts)
    let whole = range.lowerBound..<(range.lowerBound + range.count / 16 * 16)
    forVectors(whole) { i, _ in
      let x = load(input + i)
      low = low.replacing(with: x, where: x .< low)
      high = high.replacing(with: x, where: x .> high)
    }
    var (minimum, maximum) = (Float.infinity, -Float.infinity)
    for lane in 0..<16 {
      if low[lane] < minimum { minimum = low[lane] }
      if high[lane] > maximum { maximum = high[lane] }
    }
    for i in whole.upperBound..<range.upperBound {
      if input[i] < minimum { minimum = input[i] }
      if input[i] > maximum { maximum = input[i] }
    }
    return (minimum, maximum)
  }

  package static func absMax(_ input: UnsafePointer<Float>, count: Int, part: Int, of parts: Int) -> Float {
    let (minimum, maximum) = minMax(input, count: count, part: part, of: parts)
    // -(+infinity) and -infinity of an empty range lose against 0.
    return max(0, max(-minimum, maximum))
  }

  package static func absMaxPerChannel(
    _ weights: UnsafePointer<Float>, rows: Int, channels: Int, output: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    forVectors(share(channels, alignment: 16, part: part, of: parts)) { k, lanes in
      var largest = Floats.zero
      for i in stride(from: rows * k, to: rows * (k + lanes), by: lanes) {
        let x = load(weights + i, lanes)
        let magnitude = x.replacing(with: -x, where: x .< 0)
        largest = largest.replacing(with: magnitude, where: magnitude .> largest)
      }
      store(largest, output + k, lanes)
    }
  }

  package static func quantizeWeights(
    _ weights: UnsafePointer<Float>, rows: Int, channels: Int, inverseScales: UnsafePointer<Float>, limit: Int32,
    lowest: Int32, output: UnsafeMutablePointer<Int8>, part: Int, of parts: Int
  ) {
    let (lowest, limit) = (Integers(repeating: lowest), Integers(repeating: limit))
    forVectors(share(channels, alignment: 16, part: part, of: parts)) { k, lanes in
      let scales = load(inverseScales + k, lanes)
      for i in stride(from: rows * k, to: rows * (k + lanes), by: lanes) {
        store(quantized(load(weights + i, lanes) * scales, lowest, limit).values, output + i, lanes)
      }
    }
  }

  package static func scaledAbsMax(
    _ input: UnsafePointer<Float>, rows: Int, channels: Int, factors: UnsafePointer<Float>, part: Int, of parts: Int
  ) -> Float {
    // As integers, magnitudes are in order, with infinity and NaN above all numbers.
    var largest = Integers.zero
    for row in share(rows, alignment: 4, part: part, of: parts) {
      forVectors(0..<channels) { k, lanes in
        let product = load(input + row * channels + k, lanes) * load(factors + k, lanes)
        let magnitude = unsafeBitCast(product, to: Integers.self) & Integers(repeating: .max)
        largest = largest.replacing(with: magnitude, where: magnitude .> largest)
      }
    }
    var result: Int32 = 0
    for lane in 0..<16 { result = max(result, largest[lane]) }
    return Float(bitPattern: UInt32(result))
  }

  package static func quantizeGradient(
    _ input: UnsafePointer<Float>, rows: Int, channels: Int, factors: UnsafePointer<Float>, inverseScale: Float,
    output: UnsafeMutablePointer<Int16>, part: Int, of parts: Int
  ) {
    for row in share(rows, alignment: 4, part: part, of: parts) {
      forVectors(0..<channels) { k, lanes in
        let product = load(input + row * channels + k, lanes) * load(factors + k, lanes)
        store(temper_narrow_int16(rounded(product * inverseScale)), output + row * channels + k, lanes)
      }
    }
  }

  package static func absHistogram(
    _ input: UnsafePointer<Float>, count: Int, inverseBinWidth: Float, bins: UnsafeMutablePointer<UInt64>,
    binCount: Int
  ) {
    let last = Float(binCount - 1)
    for i in 0..<count {
      let x = input[i]
      guard x - x == 0 else { continue }
      let position = x.magnitude * inverseBinWidth
      bins[position < last ? Int(position) : binCount - 1] += 1
    }
  }
}
