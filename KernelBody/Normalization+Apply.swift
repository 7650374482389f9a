// The elementwise passes of BatchNorm: forward, inference and the input's gradient.
// Blocks of rows stay in L1 while the blocks of channels pass over them with their constants in registers.

internal import CIntrinsics

/// 1 / sqrt(variance + epsilon); both operations are exactly rounded by the hardware.
@inline(__always)
func inverseDeviation(_ variance: Floats, _ epsilon: Float) -> Floats {
  1 / temper_square_root(variance + epsilon)
}

/// dy where the forward output was positive, else 0.
@inline(__always)
func passed(
  _ gradient: UnsafePointer<Float>, _ activation: UnsafePointer<Float>, _ offset: Int, _ lanes: Int
) -> Floats {
  Floats.zero.replacing(with: load(gradient + offset, lanes), where: load(activation + offset, lanes) .> 0)
}

/// This part's rows in runs of at most 32 that lie in one shard: body(shard, first row, rows).
@inline(__always)
private func forRowBlocks(
  rowsPerShard: Int, shards: Int, part: Int, of parts: Int, _ body: (Int, Int, Int) -> Void
) {
  let range = share(rowsPerShard * shards, alignment: 16, part: part, of: parts)
  var row = range.lowerBound
  while row < range.upperBound {
    let shard = row / rowsPerShard
    let count = min(32, range.upperBound - row, (shard + 1) * rowsPerShard - row)
    body(shard, row, count)
    row += count
  }
}

/// Calls body(offset) for `count` rows, `stride` apart.
@inline(__always)
private func forBlock(first: Int, count: Int, stride: Int, _ body: (Int) -> Void) {
  var offset = first
  for _ in 0..<count {
    body(offset)
    offset += stride
  }
}

extension Body {
  package static func batchNormForward(
    _ input: UnsafePointer<Float>, rowsPerShard: Int, shards: Int, channels: Int, mean: UnsafePointer<Float>,
    variance: UnsafePointer<Float>, epsilon: Float, gamma: UnsafePointer<Float>, beta: UnsafePointer<Float>,
    residual: UnsafePointer<Float>?, relu: Bool, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    let floor: Float = relu ? 0 : -.infinity
    forRowBlocks(rowsPerShard: rowsPerShard, shards: shards, part: part, of: parts) { shard, row, count in
      forVectors(0..<channels) { k, lanes in
        let center = load(mean + shard * channels + k, lanes)
        let inverse = inverseDeviation(load(variance + shard * channels + k, lanes), epsilon)
        let (slope, offset) = (load(gamma + k, lanes) * inverse, load(beta + k, lanes))
        let first = row * channels + k
        if let residual {
          forBlock(first: first, count: count, stride: channels) { i in
            let y = fma(load(input + i, lanes) - center, slope, offset) + load(residual + i, lanes)
            store(y.replacing(with: floor, where: y .< floor), output + i, lanes)
          }
        } else {
          forBlock(first: first, count: count, stride: channels) { i in
            let y = fma(load(input + i, lanes) - center, slope, offset)
            store(y.replacing(with: floor, where: y .< floor), output + i, lanes)
          }
        }
      }
    }
  }

  package static func batchNormInference(
    _ input: UnsafePointer<Float>, rows: Int, channels: Int, mean: UnsafePointer<Float>,
    variance: UnsafePointer<Float>, epsilon: Float, gamma: UnsafePointer<Float>, beta: UnsafePointer<Float>,
    residual: UnsafePointer<Float>?, relu: Bool, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    guard rows > 0 else { return }
    batchNormForward(
      input, rowsPerShard: rows, shards: 1, channels: channels, mean: mean, variance: variance, epsilon: epsilon,
      gamma: gamma, beta: beta, residual: residual, relu: relu, output: output, part: part, of: parts)
  }

  package static func batchNormBackwardInput(
    _ input: UnsafePointer<Float>, gradient: UnsafePointer<Float>, activation: UnsafePointer<Float>?,
    rowsPerShard: Int, shards: Int, channels: Int, mean: UnsafePointer<Float>, variance: UnsafePointer<Float>,
    epsilon: Float, gamma: UnsafePointer<Float>, sumGradient: UnsafePointer<Float>,
    sumGradientNormalized: UnsafePointer<Float>, gradientInput: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    let divisor = Float(rowsPerShard)
    forRowBlocks(rowsPerShard: rowsPerShard, shards: shards, part: part, of: parts) { shard, row, count in
      forVectors(0..<channels) { k, lanes in
        let statistics = shard * channels + k
        let center = load(mean + statistics, lanes)
        let inverse = inverseDeviation(load(variance + statistics, lanes), epsilon)
        let slope = load(gamma + k, lanes) * inverse
        let meanGradient = load(sumGradient + statistics, lanes) / divisor
        // xhat * sum / R = (x - mean) * (sum / R * inverse)
        let correction = -(load(sumGradientNormalized + statistics, lanes) / divisor * inverse)
        let first = row * channels + k
        if let activation {
          forBlock(first: first, count: count, stride: channels) { i in
            let dy = passed(gradient, activation, i, lanes) - meanGradient
            store(fma(load(input + i, lanes) - center, correction, dy) * slope, gradientInput + i, lanes)
          }
        } else {
          forBlock(first: first, count: count, stride: channels) { i in
            let dy = load(gradient + i, lanes) - meanGradient
            store(fma(load(input + i, lanes) - center, correction, dy) * slope, gradientInput + i, lanes)
          }
        }
      }
    }
  }
}
