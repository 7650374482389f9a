// BatchNorm over [S, R, C], statistics per shard and channel. Lanes are channels.
// Order of a sum over rows: blocks of 64 rows; in a block four chains by row % 4, joined as (0 + 1) + (2 + 3), then
// added to the total. Four chains hide the latency of addition, blocks bound the error by about (16 + R / 64) ulp.

/// The blocks of 16 channels that a part owns: shard by shard, a range of channels.
@inline(__always)
private func forChannelBlocks(
  shards: Int, channels: Int, part: Int, of parts: Int, _ body: (Int, Range<Int>) -> Void
) {
  let blocks = (channels + 15) / 16
  let units = share(shards * blocks, part: part, of: parts)
  var unit = units.lowerBound
  while unit < units.upperBound {
    let (shard, first) = (unit / blocks, unit % blocks)
    let last = min(blocks, first + units.upperBound - unit)
    body(shard, (first * 16)..<min(last * 16, channels))
    unit += last - first
  }
}

/// Rows of one block of the sums.
private let blockRows = 64

/// Adds term(offset of the row) of up to 64 rows to a total, in the order given at the top of this file.
@inline(__always)
private func blockSum(_ rows: Int, stride: Int, _ term: (Int) -> Floats) -> Floats {
  var (a, b, c, d) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
  var row = 0
  var offset = 0
  while row + 4 <= rows {
    a += term(offset)
    b += term(offset + stride)
    c += term(offset + 2 * stride)
    d += term(offset + 3 * stride)
    offset += 4 * stride
    row += 4
  }
  if row < rows { a += term(offset) }
  if row + 1 < rows { b += term(offset + stride) }
  if row + 2 < rows { c += term(offset + 2 * stride) }
  return (a + b) + (c + d)
}

/// `blockSum` of two terms at once.
@inline(__always)
private func blockSums(_ rows: Int, stride: Int, _ term: (Int) -> (Floats, Floats)) -> (Floats, Floats) {
  var (a, b, c, d) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
  var (e, f, g, h) = (Floats.zero, Floats.zero, Floats.zero, Floats.zero)
  var row = 0
  var offset = 0
  @inline(__always)
  func add(_ first: inout Floats, _ second: inout Floats, _ terms: (Floats, Floats)) {
    first += terms.0
    second += terms.1
  }
  while row + 4 <= rows {
    add(&a, &e, term(offset))
    add(&b, &f, term(offset + stride))
    add(&c, &g, term(offset + 2 * stride))
    add(&d, &h, term(offset + 3 * stride))
    offset += 4 * stride
    row += 4
  }
  if row < rows { add(&a, &e, term(offset)) }
  if row + 1 < rows { add(&b, &f, term(offset + stride)) }
  if row + 2 < rows { add(&c, &g, term(offset + 2 * stride)) }
  return ((a + b) + (c + d), (e + f) + (g + h))
}

extension Body {
  package static func batchNormStatistics(
    _ input: UnsafePointer<Float>, rowsPerShard: Int, shards: Int, channels: Int, mean: UnsafeMutablePointer<Float>,
    variance: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    let divisor = Float(rowsPerShard)
    forChannelBlocks(shards: shards, channels: channels, part: part, of: parts) { shard, range in
      let rows = input + shard * rowsPerShard * channels
      let (means, variances) = (mean + shard * channels, variance + shard * channels)
      forVectors(range) { k, lanes in
        store(.zero, means + k, lanes)
        store(.zero, variances + k, lanes)
      }
      var row = 0
      while row < rowsPerShard {
        let count = min(blockRows, rowsPerShard - row)
        @inline(__always)
        func add(_ k: Int, _ lanes: Int) {
          let first = rows + row * channels + k
          let sum = blockSum(count, stride: channels) { load(first + $0, lanes) }
          store(load(means + k, lanes) + sum, means + k, lanes)
        }
        forVectors(range, whole: { add($0, 16) }, tail: { add($0, $1) })
        row += blockRows
      }
      forVectors(range) { k, lanes in store(load(means + k, lanes) / divisor, means + k, lanes) }
      row = 0
      while row < rowsPerShard {
        let count = min(blockRows, rowsPerShard - row)
        @inline(__always)
        func add(_ k: Int, _ lanes: Int) {
          let first = rows + row * channels + k
          let center = load(means + k, lanes)
          let sum = blockSum(count, stride: channels) { offset in
            let difference = load(first + offset, lanes) - center
            return difference * difference
          }
          store(load(variances + k, lanes) + sum, variances + k, lanes)
        }
        forVectors(range, whole: { add($0, 16) }, tail: { add($0, $1) })
        row += blockRows
      }
      forVectors(range) { k, lanes in store(load(variances + k, lanes) / divisor, variances + k, lanes) }
    }
  }

  package static func batchNormBackwardReduce(
    _ input: UnsafePointer<Float>, gradient: UnsafePointer<Float>, activation: UnsafePointer<Float>?,
    rowsPerShard: Int, shards: Int, channels: Int, mean: UnsafePointer<Float>, variance: UnsafePointer<Float>,
    epsilon: Float, sumGradient: UnsafeMutablePointer<Float>, sumGradientNormalized: UnsafeMutablePointer<Float>,
    part: Int, of parts: Int
  ) {
    forChannelBlocks(shards: shards, channels: channels, part: part, of: parts) { shard, range in
      let statistics = shard * channels
      let (sums, products) = (sumGradient + statistics, sumGradientNormalized + statistics)
      forVectors(range) { k, lanes in
        store(.zero, sums + k, lanes)
        store(.zero, products + k, lanes)
      }
      var row = 0
      while row < rowsPerShard {
        let count = min(blockRows, rowsPerShard - row)
        forVectors(range) { k, lanes in
          let first = (shard * rowsPerShard + row) * channels + k
          let center = load(mean + statistics + k, lanes)
          let (x, dy) = (input + first, gradient + first)
          // Sum of dy * (x - mean); the factor 1 / deviation is common to the shard and comes last.
          let (sum, product) =
            if let y = activation.map({ $0 + first }) {
              blockSums(count, stride: channels) { offset in
                let dy = passed(dy, y, offset, lanes)
                return (dy, dy * (load(x + offset, lanes) - center))
              }
            } else {
              blockSums(count, stride: channels) { offset in
                let dy = load(dy + offset, lanes)
                return (dy, dy * (load(x + offset, lanes) - center))
              }
            }
          store(load(sums + k, lanes) + sum, sums + k, lanes)
          store(load(products + k, lanes) + product, products + k, lanes)
        }
        row += blockRows
      }
      forVectors(range) { k, lanes in
        let inverse = inverseDeviation(load(variance + statistics + k, lanes), epsilon)
        store(load(products + k, lanes) * inverse, products + k, lanes)
      }
    }
  }
}
