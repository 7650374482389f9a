// Maximum and average pooling. Lanes are channels; work is shared by image rows.

internal import CIntrinsics
package import KernelsInterface

extension Body {
  package static func maxPoolForward(
    _ geometry: PoolingGeometry, samples: Int, input: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>,
    argmax: UnsafeMutablePointer<UInt8>, part: Int, of parts: Int
  ) {
    let g = geometry
    let (outputHeight, outputWidth, channels) = (g.outputHeight, g.outputWidth, g.channels)
    let unset = Integers(repeating: -1)
    for line in share(samples * outputHeight, part: part, of: parts) {
      let (sample, y) = (line / outputHeight, line % outputHeight)
      let image = input + sample * g.inputHeight * g.inputWidth * channels
      let top = y * g.stride - g.padding
      for x in 0..<outputWidth {
        let left = x * g.stride - g.padding
        let target = (line * outputWidth + x) * channels
        forVectors(0..<channels) { k, lanes in
          var best = Floats(repeating: -.infinity)
          var place = unset
          for row in max(0, -top)..<min(g.window, g.inputHeight - top) {
            for column in max(0, -left)..<min(g.window, g.inputWidth - left) {
              let pixel = (top + row) * g.inputWidth + left + column
              let value = load(image + pixel * channels + k, lanes)
              let wins = (value .> best) .| (value .!= value) .| (place .== unset)
              best = best.replacing(with: value, where: wins)
              let here = Integers(repeating: Int32(truncatingIfNeeded: row * g.window + column))
              place = place.replacing(with: here, where: wins)
            }
          }
          store(best, output + target + k, lanes)
          store(temper_narrow_uint8(place), argmax + target + k, lanes)
        }
      }
    }
  }

  package static func maxPoolBackward(
    _ geometry: PoolingGeometry, samples: Int, gradientOutput: UnsafePointer<Float>, argmax: UnsafePointer<UInt8>,
    gradientInput: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    let g = geometry
    let (outputHeight, outputWidth, channels) = (g.outputHeight, g.outputWidth, g.channels)
    // Windows that cover coordinate p: those o with o * stride <= p + padding < o * stride + window.
    @inline(__always)
    func windows(_ coordinate: Int, _ limit: Int) -> Range<Int> {
      let p = coordinate + g.padding
      let first = p < g.window ? 0 : (p - g.window) / g.stride + 1
      let last = min(p / g.stride + 1, limit)
      return first..<max(first, last)
    }
    for line in share(samples * g.inputHeight, part: part, of: parts) {
      let (sample, y) = (line / g.inputHeight, line % g.inputHeight)
      let first = sample * outputHeight * outputWidth
      let rows = windows(y, outputHeight)
      for x in 0..<g.inputWidth {
        let columns = windows(x, outputWidth)
        forVectors(0..<channels) { k, lanes in
          var sum = Floats.zero
          for outputY in rows {
            for outputX in columns {
              let (row, column) = (y + g.padding - outputY * g.stride, x + g.padding - outputX * g.stride)
              let offset = (first + outputY * outputWidth + outputX) * channels + k
              let place = temper_widen_uint8(load(argmax + offset, lanes))
              let won = place .== Integers(repeating: Int32(truncatingIfNeeded: row * g.window + column))
              sum += Floats.zero.replacing(with: load(gradientOutput + offset, lanes), where: won)
            }
          }
          store(sum, gradientInput + (line * g.inputWidth + x) * channels + k, lanes)
        }
      }
    }
  }

  package static func globalAveragePoolForward(
    _ input: UnsafePointer<Float>, samples: Int, pixels: Int, channels: Int, output: UnsafeMutablePointer<Float>,
    part: Int, of parts: Int
  ) {
    let divisor = Float(pixels)
    for sample in share(samples, part: part, of: parts) {
      forVectors(0..<channels) { k, lanes in
        var sum = Floats.zero
        let first = input + sample * pixels * channels + k
        for pixel in 0..<pixels { sum += load(first + pixel * channels, lanes) }
        store(sum / divisor, output + sample * channels + k, lanes)
      }
    }
  }

  package static func globalAveragePoolBackward(
    _ gradientOutput: UnsafePointer<Float>, samples: Int, pixels: Int, channels: Int,
    gradientInput: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    let divisor = Float(pixels)
    for sample in share(samples, part: part, of: parts) {
      forVectors(0..<channels) { k, lanes in
        let value = load(gradientOutput + sample * channels + k, lanes) / divisor
        let first = gradientInput + sample * pixels * channels + k
        for pixel in 0..<pixels { store(value, first + pixel * channels, lanes) }
      }
    }
  }

  package static func upsampleNearestForward(
    _ input: UnsafePointer<Float>, samples: Int, height: Int, width: Int, channels: Int, factor: Int,
    output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    for line in share(samples * height * factor, part: part, of: parts) {
      let source = input + line / factor * width * channels
      let target = output + line * width * factor * channels
      for x in 0..<(width * factor) {
        forVectors(0..<channels) { k, lanes in
          store(load(source + x / factor * channels + k, lanes), target + x * channels + k, lanes)
        }
      }
    }
  }

  package static func upsampleNearestBackward(
    _ gradientOutput: UnsafePointer<Float>, samples: Int, height: Int, width: Int, channels: Int, factor: Int,
    gradientInput: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    for line in share(samples * height, part: part, of: parts) {
      let source = gradientOutput + line * factor * width * factor * channels
      for x in 0..<width {
        forVectors(0..<channels) { k, lanes in
          var sum = Floats.zero
          for row in 0..<factor {
            for column in 0..<factor {
              let pixel = (row * width + x) * factor + column
              sum += load(source + pixel * channels + k, lanes)
            }
          }
          store(sum, gradientInput + (line * width + x) * channels + k, lanes)
        }
      }
    }
  }
}
