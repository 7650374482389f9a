// Elementwise passes: ReLU, addition, scaling, decoding of pixels, finiteness.

internal import CIntrinsics

extension Body {
  package static func reluForward(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(positivePart(load(input + i, lanes)), output + i, lanes)
    }
  }

  package static func reluBackward(
    _ gradient: UnsafePointer<Float>, activation: UnsafePointer<Float>, count: Int,
    gradientInput: UnsafeMutablePointer<Float>, accumulate: Bool, part: Int, of parts: Int
  ) {
    if accumulate {
      forVectors(count: count, part: part, of: parts) { i, lanes in
        let passed = Floats.zero.replacing(with: load(gradient + i, lanes), where: load(activation + i, lanes) .> 0)
        store(load(gradientInput + i, lanes) + passed, gradientInput + i, lanes)
      }
    } else {
      forVectors(count: count, part: part, of: parts) { i, lanes in
        let passed = Floats.zero.replacing(with: load(gradient + i, lanes), where: load(activation + i, lanes) .> 0)
        store(passed, gradientInput + i, lanes)
      }
    }
  }

  package static func add(
    _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, count: Int, relu: Bool,
    output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    if relu {
      forVectors(count: count, part: part, of: parts) { i, lanes in
        store(positivePart(load(left + i, lanes) + load(right + i, lanes)), output + i, lanes)
      }
    } else {
      forVectors(count: count, part: part, of: parts) { i, lanes in
        store(load(left + i, lanes) + load(right + i, lanes), output + i, lanes)
      }
    }
  }

  package static func accumulate(
    _ values: UnsafePointer<Float>, count: Int, into total: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(load(total + i, lanes) + load(values + i, lanes), total + i, lanes)
    }
  }

  package static func scale(
    _ values: UnsafeMutablePointer<Float>, count: Int, by factor: Float, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(load(values + i, lanes) * factor, values + i, lanes)
    }
  }

  package static func decodeUInt8(
    _ pixels: UnsafePointer<UInt8>, rows: Int, channels: Int, mean: UnsafePointer<Float>,
    inverseDeviation: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    let count = rows * channels
    let range = share(count, alignment: 64, part: part, of: parts)
    if channels == 1 {
      let (mean, factor) = (Floats(repeating: mean[0]), Floats(repeating: inverseDeviation[0]))
      forVectors(range) { i, lanes in
        let pixel = floats(temper_widen_uint8(load(pixels + i, lanes)))
        store((pixel - mean) * factor, output + i, lanes)
      }
      return
    }
    var channel = range.lowerBound % channels
    for i in range {
      output[i] = (Float(pixels[i]) - mean[channel]) * inverseDeviation[channel]
      channel = channel + 1 == channels ? 0 : channel + 1
    }
  }

  package static func allFinite(_ values: UnsafePointer<Float>, count: Int, part: Int, of parts: Int) -> Bool {
    // x - x is 0 for finite x and NaN otherwise, and NaN stays in a sum.
    var sum = Floats.zero
    forVectors(count: count, part: part, of: parts) { i, lanes in
      let x = load(values + i, lanes)
      sum += x - x
    }
    for lane in 0..<16 where sum[lane] != 0 { return false }
    return true
  }
}
