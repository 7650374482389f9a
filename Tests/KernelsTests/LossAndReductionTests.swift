import Foundation
import Kernels
import Testing

@Suite("Losses and reductions")
struct LossAndReductionTests {
  @Test(
    "cross-entropy and its gradient equal the definition, with and without smoothing",
    arguments: [1, 2, 5, 10, 16, 37],
    [Float(0), 0.1])
  func crossEntropy(classes: Int, smoothing: Float) {
    let samples = 9
    var random = Random(22)
    let logits = Buffer(random.floats(samples * classes).map { $0 * 20 })
    let labels = Buffer(random.integers(samples, 0...(classes - 1)).map { Int32($0) })
    let result = expectSameBits { kernels, parts in
      let losses = Buffer<Float>(repeating: .nan, count: samples)
      let gradient = Buffer<Float>(repeating: .nan, count: samples * classes)
      let softmax = Buffer<Float>(repeating: .nan, count: samples * classes)
      for part in 0..<parts {
        kernels.softmaxCrossEntropy(
          logits.constant, samples: samples, classes: classes, labels: labels.constant, smoothing: smoothing,
          gradientScale: 4, losses: losses.pointer, gradient: gradient.pointer, part: part, of: parts)
        kernels.softmax(
          logits.constant, samples: samples, classes: classes, probabilities: softmax.pointer, part: part, of: parts)
      }
      #expect(losses.intact && gradient.intact && softmax.intact)
      return losses.values + gradient.values + softmax.values
    }
    for sample in 0..<samples {
      let row = (0..<classes).map { Double(logits.pointer[sample * classes + $0]) }
      let sum = row.map { exp($0 - (row.max() ?? 0)) }.reduce(0, +)
      let logs = row.map { $0 - (row.max() ?? 0) - log(sum) }
      var loss = 0.0
      for k in 0..<classes {
        let label = k == Int(labels.pointer[sample])
        let target = (label ? 1 - Double(smoothing) : 0) + Double(smoothing) / Double(classes)
        loss -= target * logs[k]
        let at = samples + sample * classes + k
        // Errors: the exponential's 2 ulp, the sum's and quotient's, and the difference of numbers up to 1.
        let bound = Double(classes + 8) * halfUlp * 4
        expectClose([result[at]], [4 * (exp(logs[k]) - target)], within: [bound])
        expectClose([result[at + samples * classes]], [exp(logs[k])], within: [bound])
      }
      expectClose([result[sample]], [loss], within: [Double(2 * classes + 16) * halfUlp * (abs(loss) + 40)])
    }
  }

  @Test("the loss stays finite for logits of 1e4, and no gradient is written in evaluation")
  func extremes() {
    let logits = Buffer<Float>([1e4, -1e4, 0])
    let labels = Buffer<Int32>([1])
    for level in levels {
      let losses = Buffer<Float>(repeating: .nan, count: 1)
      level.kernels.softmaxCrossEntropy(
        logits.constant, samples: 1, classes: 3, labels: labels.constant, smoothing: 0, gradientScale: 1,
        losses: losses.pointer, gradient: nil, part: 0, of: 1)
      #expect(losses.values == [20000])
    }
  }

  @Test("shards combine as a binary tree in each piece", arguments: [0, 1, 16, 17, 130])
  func combine(n: Int) {
    var random = Random(23)
    let values = Buffer(random.floats(13 * n))
    let pieces = [
      ShardPiece(firstLocalShard: 0, shardCount: 1), ShardPiece(firstLocalShard: 1, shardCount: 8),
      ShardPiece(firstLocalShard: 9, shardCount: 4),
    ]
    let result = expectSameBits { kernels, parts in
      reduce(pieces, n) { pieces, outputs in
        for part in 0..<parts {
          kernels.combineShards(
            values.constant, count: n, pieces: pieces, outputs: outputs, part: part, of: parts)
        }
      }
    }
    let expected = pieces.flatMap { piece in (0..<n).map { i in tree(piece) { values.pointer[$0 * n + i] } } }
    #expect(bits(result) == bits(expected))
  }

  @Test("leaves and nodes are rounded to halves where a piece asks for it", arguments: [1, 16, 17, 130])
  func combineHalves(n: Int) {
    var random = Random(29)
    let values = Buffer(random.floats(12 * n))
    let pieces = [
      ShardPiece(firstLocalShard: 0, shardCount: 8, halfScale: 1_024),
      ShardPiece(firstLocalShard: 8, shardCount: 4, halfScale: 1),
    ]
    let result = expectSameBits { kernels, parts in
      reduce(pieces, n) { pieces, outputs in
        for part in 0..<parts {
          kernels.combineShards(values.constant, count: n, pieces: pieces, outputs: outputs, part: part, of: parts)
        }
      }
    }
    func node(_ piece: ShardPiece, _ shards: Range<Int>, _ i: Int) -> Float {
      let middle = (shards.lowerBound + shards.upperBound) / 2
      let sum =
        shards.count == 1
        ? values.pointer[shards.lowerBound * n + i]
        : node(piece, shards.lowerBound..<middle, i) + node(piece, middle..<shards.upperBound, i)
      return Float(Float16(sum * piece.halfScale)) / piece.halfScale
    }
    let expected = pieces.flatMap { piece in
      let shards = piece.firstLocalShard..<piece.firstLocalShard + piece.shardCount
      return (0..<n).map { node(piece, shards, $0) }
    }
    #expect(bits(result) == bits(expected))
  }

  @Test("the bias gradient sums rows in order, then shards as a tree", arguments: [1, 10, 16, 21])
  func bias(channels: Int) {
    let rows = 7
    var random = Random(24)
    let gradient = Buffer(random.floats(6 * rows * channels))
    let pieces = [ShardPiece(firstLocalShard: 0, shardCount: 4), ShardPiece(firstLocalShard: 4, shardCount: 2)]
    let result = expectSameBits { kernels, parts in
      reduce(pieces, channels) { pieces, outputs in
        for part in 0..<parts {
          kernels.biasGradient(
            gradient.constant, rowsPerShard: rows, channels: channels, pieces: pieces, outputs: outputs, part: part,
            of: parts)
        }
      }
    }
    let expected = pieces.flatMap { piece in
      (0..<channels).map { k in
        tree(piece) { shard in
          var sum: Float = 0
          for row in 0..<rows { sum += gradient.pointer[(shard * rows + row) * channels + k] }
          return sum
        }
      }
    }
    #expect(bits(result) == bits(expected))
  }

  @Test("a node of the tree is left + right, and rows are summed in order", arguments: counts)
  func node(count: Int) {
    var random = Random(25)
    let (left, right) = (Buffer(random.floats(count)), Buffer(random.floats(count)))
    let result = expectSameBits { kernels, parts in
      let output = Buffer<Float>(repeating: .nan, count: count)
      for part in 0..<parts {
        kernels.addTree(
          left: left.constant, right: right.constant, into: output.pointer, count: count, part: part, of: parts)
      }
      let sum = Buffer<Float>(repeating: .nan, count: 1)
      kernels.sumRows(left.constant, rows: 1, count: count, output: sum.pointer)
      #expect(output.intact && sum.intact)
      return output.values + sum.values
    }
    #expect(result == zip(left.values, right.values).map { $0 + $1 } + [left.values.reduce(0, +)])
  }

  private func tree(_ piece: ShardPiece, _ leaf: (Int) -> Float) -> Float {
    var nodes = (0..<piece.shardCount).map { leaf(piece.firstLocalShard + $0) }
    while nodes.count > 1 { nodes = stride(from: 0, to: nodes.count, by: 2).map { nodes[$0] + nodes[$0 + 1] } }
    return nodes[0]
  }

  private func reduce(
    _ pieces: [ShardPiece], _ n: Int,
    _ body: (UnsafeBufferPointer<ShardPiece>, UnsafePointer<UnsafeMutablePointer<Float>>) -> Void
  ) -> [Float] {
    let outputs = pieces.map { _ in Buffer<Float>(repeating: .nan, count: n) }
    let pointers = outputs.map(\.pointer)
    pieces.withUnsafeBufferPointer { body($0, pointers) }
    #expect(!outputs.contains { !$0.intact })
    return outputs.flatMap(\.values)
  }
}
