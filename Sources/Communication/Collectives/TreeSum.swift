// Adds partial sums in the order of the shard tree, block by block, so that intermediate sums stay in the L1 cache.

/// The finishing additions of one assignment, with the scratch memory they need; used by one thread.
final class TreeSum {
  /// Floats per block: with up to 64 intermediate sums a typical assignment stays within 32 KiB.
  private static let block = 1_024

  let operandCount: Int
  private let additions: [ShardTree.Addition]
  private let scratch: UnsafeMutablePointer<Float>
  private let sources: UnsafeMutablePointer<UnsafeRawPointer?>

  init(pieces: [TreePiece], shardCount: Int) {
    operandCount = pieces.count
    additions = ShardTree.additions(finishing: pieces, shardCount: shardCount)
    scratch = .allocate(capacity: max(1, additions.count) * Self.block)
    sources = .allocate(capacity: operandCount + additions.count)
  }

  deinit {
    scratch.deallocate()
    sources.deallocate()
  }

  /// target[i] = the tree over operand(0)[i], operand(1)[i], ...; FP32, one rounding per node.
  ///
  /// Operands need no alignment. The target may be one of them, but must not overlap any otherwise.
  func sum(count: Int, into target: UnsafeMutablePointer<Float>, operand: (Int) -> UnsafeRawPointer) {
    if additions.isEmpty {
      let only = operand(0)
      if only != UnsafeRawPointer(target) {
        UnsafeMutableRawPointer(target).copyMemory(from: only, byteCount: count * 4)
      }
      return
    }
    for index in 0..<operandCount { sources[index] = operand(index) }
    var start = 0
    while start < count {
      let length = min(Self.block, count - start)
      for (index, addition) in additions.enumerated() {
        let output = index == additions.count - 1 ? target + start : scratch + index * Self.block
        Self.add(source(addition.left, start), source(addition.right, start), into: output, count: length)
        sources[operandCount + index] = UnsafeRawPointer(output)
      }
      start += length
    }
  }

  @inline(__always)
  private func source(_ operand: Int, _ start: Int) -> UnsafeRawPointer {
    guard let pointer = sources[operand] else { preconditionFailure("operand \(operand) used before it was made") }
    return operand < operandCount ? pointer + start * 4 : pointer
  }

  private static func add(
    _ left: UnsafeRawPointer, _ right: UnsafeRawPointer, into output: UnsafeMutablePointer<Float>, count: Int
  ) {
    var index = 0
    while index + 16 <= count {
      let sum =
        left.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
        + right.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
      UnsafeMutableRawPointer(output + index).storeBytes(of: sum, as: SIMD16<Float>.self)
      index += 16
    }
    while index < count {
      output[index] =
        left.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
        + right.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
      index += 1
    }
  }
}

/// Maxima over ranks, whose bits do not depend on the order of ranks.
enum MaximumReduction {
  /// target[i] = max(target[i], source[i]); a NaN stays.
  static func merge(_ source: UnsafeRawPointer, into target: UnsafeMutablePointer<Float>, count: Int) {
    for index in 0..<count {
      let value = source.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
      if value > target[index] || value.isNaN { target[index] = value }
    }
  }

  /// One zero (+0) and one NaN, so that it does not matter whose came first.
  static func makeCanonical(_ target: UnsafeMutablePointer<Float>, count: Int) {
    for index in 0..<count { target[index] = target[index].isNaN ? .nan : target[index] + 0 }
  }
}
