// Adds partial sums in the order of the shard tree, block by block, so that intermediate sums stay in the L1 cache.

/// The finishing additions of one assignment, with the scratch memory they need; used by one thread.
final class TreeSum {
  /// Floats per block: with up to 64 intermediate sums a typical assignment stays within 32 KiB.
  private static let block = FiniteCheck.block

  let operandCount: Int
  private let additions: [ShardTree.Addition]
  private let scratch: UnsafeMutablePointer<Float>
  private let sources: UnsafeMutablePointer<UnsafeRawPointer?>
  private var operandBlocks: UnsafeMutablePointer<Float>?

  init(pieces: [TreePiece], shardCount: Int) {
    operandCount = pieces.count
    additions = ShardTree.additions(finishing: pieces, shardCount: shardCount)
    scratch = .allocate(capacity: max(1, additions.count) * Self.block)
    sources = .allocate(capacity: operandCount + additions.count)
  }

  deinit {
    scratch.deallocate()
    sources.deallocate()
    operandBlocks?.deallocate()
  }

  /// target[i] = the tree over operand(0)[i], operand(1)[i], ...; FP32, one rounding per node.
  ///
  /// Operands need no alignment. The target may be one of them, but must not overlap any otherwise.
  /// - Returns: whether all sums are finite.
  func sum(count: Int, into target: UnsafeMutablePointer<Float>, operand: (Int) -> UnsafeRawPointer) -> Bool {
    if additions.isEmpty {
      let only = operand(0)
      return only == UnsafeRawPointer(target)
        ? FiniteCheck.isFinite(only, count: count) : FiniteCheck.copy(only, to: target, count: count)
    }
    for index in 0..<operandCount { sources[index] = operand(index) }
    var areFinite = true
    var start = 0
    while start < count {
      let length = min(Self.block, count - start)
      for (index, addition) in additions.enumerated() {
        let output = index == additions.count - 1 ? target + start : scratch + index * Self.block
        Self.add(source(addition.left, start), source(addition.right, start), into: output, count: length)
        sources[operandCount + index] = UnsafeRawPointer(output)
      }
      areFinite = FiniteCheck.isFinite(target + start, count: length) && areFinite
      start += length
    }
    return areFinite
  }

  /// As `sum`, with every node rounded to a half; operands that are halves are converted block by block.
  ///
  /// - Parameter operand: its memory, and whether it holds halves. Float operands are rounded already.
  func sumHalves(
    count: Int, into target: UnsafeMutablePointer<Float>, scale: Float, format: HalfFormat,
    operand: (Int) -> (start: UnsafeRawPointer, isHalf: Bool)
  ) -> Bool {
    let halves = halfScratch()
    var areFinite = true
    var start = 0
    while start < count {
      let length = min(Self.block, count - start)
      for index in 0..<operandCount {
        let (memory, isHalf) = operand(index)
        let floats = operandScratch(index)
        if isHalf {
          format.decode(memory + start * 2, length, scale, floats)
        } else {
          UnsafeMutableRawPointer(floats).copyMemory(from: memory + start * 4, byteCount: length * 4)
        }
        sources[index] = UnsafeRawPointer(floats)
      }
      for (index, addition) in additions.enumerated() {
        guard let left = sources[addition.left], let right = sources[addition.right] else {
          preconditionFailure("addition \(index) before its operands")
        }
        let output = scratch + index * Self.block
        Self.add(left, right, into: output, count: length)
        format.encode(output, length, scale, halves)
        format.decode(halves, length, scale, output)
        sources[operandCount + index] = UnsafeRawPointer(output)
      }
      if let result = sources[operandCount + additions.count - 1] {
        areFinite = FiniteCheck.copy(result, to: target + start, count: length) && areFinite
      }
      start += length
    }
    return areFinite
  }

  /// Made when the first step with halves is summed: [operands][block] floats, then a block of halves.
  private func operandScratch(_ index: Int) -> UnsafeMutablePointer<Float> {
    if operandBlocks == nil { operandBlocks = .allocate(capacity: (operandCount + 1) * Self.block) }
    guard let operandBlocks else { preconditionFailure("no scratch for operands") }
    return operandBlocks + index * Self.block
  }

  private func halfScratch() -> UnsafeMutableRawPointer { UnsafeMutableRawPointer(operandScratch(operandCount)) }

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
