// Every random choice of a simulated world comes from one of these, so that the seed decides everything.
import Data

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Dice: Sendable {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return CounterRandom.mix(state)
  }

  /// A number in a range, by multiplication: the bias is below 2^-32 for the small ranges used here.
  mutating func roll(_ range: ClosedRange<Int64>) -> Int64 {
    let count = UInt64(range.upperBound - range.lowerBound) + 1
    return range.lowerBound + Int64(next().multipliedFullWidth(by: count).high)
  }

  /// An index below `count`.
  mutating func index(_ count: Int) -> Int { Int(roll(0...Int64(count) - 1)) }

  /// True once in `1000 / perMille` cases.
  mutating func chance(perMille: Int64) -> Bool { roll(0...999) < perMille }

  /// A span around `mean` microseconds, from 1/8 to 4 times: short ones are more frequent, as waiting times are.
  mutating func span(mean: Int64) -> Int64 {
    let step = roll(0...5)
    let low = (mean >> 3) << step
    return max(1, roll(low / 2...max(1, low)))
  }
}
