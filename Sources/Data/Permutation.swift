// A permutation of 0..<count that needs no memory: position in, element out, from a key alone.
//
// A four-round Feistel network over the smallest even number of bits that covers count, with cycle walking: an output
// outside the range is encrypted again (Black and Rogaway 2002). At most 4 tries on average, since the domain is < 4
// count.

/// A stateless keyed permutation.
public struct Permutation: Sendable, Hashable {
  /// Elements permuted.
  public let count: Int
  private let halfBits: UInt64
  private let mask: UInt64
  private let random: CounterRandom

  /// Makes a permutation of 0..<count.
  public init(count: Int, random: CounterRandom) {
    precondition(count > 0, "a permutation of \(count) elements")
    self.count = count
    let bits = Int.bitWidth - (count - 1).leadingZeroBitCount
    halfBits = UInt64(max(1, (bits + 1) / 2))
    mask = 1 << halfBits - 1
    self.random = random
  }

  /// The element at a position.
  public subscript(position: Int) -> Int {
    precondition(position >= 0 && position < count, "position \(position) of \(count)")
    var value = UInt64(position)
    repeat {
      var left = value >> halfBits
      var right = value & mask
      for round in 0..<4 {
        // The round function: the round and the half make the counter; 2^32 keeps rounds apart.
        let mixed = random.bits(round << 32 | Int(right)) >> 32
        (left, right) = (right, left ^ (mixed & mask))
      }
      value = left << halfBits | right
    } while value >= UInt64(count)
    return Int(value)
  }
}
