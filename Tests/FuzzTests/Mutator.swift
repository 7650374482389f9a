// A seeded mutation fuzzer: takes what a decoder accepts, damages it, and demands that the decoder says no in its own words or
// accepts, but never traps. The same seed makes the same inputs. TEMPER_FUZZ_COUNT sets how many per decoder (3,000),
// TEMPER_FUZZ_SEED where to begin, TEMPER_FUZZ_TRACE=1 prints the number of each input before it is tried, to find one that traps.

import Foundation

/// SplitMix64.
struct Dice {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// 0..<bound; 0 when there is nothing to choose from.
  mutating func roll(_ bound: Int) -> Int { bound < 1 ? 0 : Int(next() % UInt64(bound)) }
}

/// Damages bytes.
struct Mutator {
  var dice: Dice

  /// Numbers at which decoders err: ends of ranges, signs, powers of two.
  static let numbers: [UInt64] = [
    0, 1, 2, 7, 8, 64, 127, 128, 255, 256, 65_535, 65_536, 1 << 20, 1 << 31, UInt64(UInt32.max), 1 << 32, 1 << 53,
    1 << 62,
    1 << 63, .max, .max - 1, .max - 7,
  ]
  private static let words = [
    "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e309", "1e-400", "NaN", "null", "[]",
    "{}",
    "\"\"", "true", "0.5", "99999999999999999999999999", "[[[[[[[[", "\u{FEFF}", "\u{0}", "../../etc/passwd", "&a",
    "*a",
  ]

  /// One to four kinds of damage, one after the other.
  mutating func mutate(_ bytes: [UInt8], others: [[UInt8]]) -> [UInt8] {
    var bytes = bytes
    for _ in 0...dice.roll(4) { damage(&bytes, others: others) }
    return bytes
  }

  private mutating func damage(_ bytes: inout [UInt8], others: [[UInt8]]) {
    let place = dice.roll(bytes.count)
    switch dice.roll(10) {
    case 0 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8(dice.roll(8))
    case 1 where !bytes.isEmpty: bytes[place] = [0, 0xFF, 0x7F, 0x80, UInt8(dice.roll(256))][dice.roll(5)]
    case 2: bytes.removeLast(dice.roll(bytes.count + 1))
    case 3: bytes.removeSubrange(place..<min(bytes.count, place + 1 + dice.roll(16)))
    case 4: bytes.insert(contentsOf: (0...dice.roll(8)).map { _ in UInt8(dice.roll(256)) }, at: place)
    case 5: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + dice.roll(64))], at: dice.roll(bytes.count))
    case 6: overwriteNumber(&bytes, at: place)
    case 7: replaceDigits(&bytes, from: place)
    case 8: bytes.insert(contentsOf: Array(Self.words[dice.roll(Self.words.count)].utf8), at: place)
    default:
      guard let other = others.isEmpty ? nil : others[dice.roll(others.count)] else { return }
      let from = dice.roll(other.count)
      bytes.replaceSubrange(
        place..<min(bytes.count, place + dice.roll(32)), with: other[from..<min(other.count, from + dice.roll(32))])
    }
  }

  /// Four or eight bytes, little or big endian.
  private mutating func overwriteNumber(_ bytes: inout [UInt8], at place: Int) {
    let number = Self.numbers[dice.roll(Self.numbers.count)]
    let size = dice.roll(2) == 0 ? 4 : 8
    let isBig = dice.roll(2) == 0
    for offset in 0..<size where place + offset < bytes.count {
      bytes[place + offset] = UInt8(truncatingIfNeeded: number >> UInt64(8 * (isBig ? size - 1 - offset : offset)))
    }
  }

  /// The next number written in digits becomes another.
  private mutating func replaceDigits(_ bytes: inout [UInt8], from place: Int) {
    let isDigit = { (byte: UInt8) in (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    guard let start = bytes[place...].firstIndex(where: isDigit) else { return }
    let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.endIndex
    bytes.replaceSubrange(start..<end, with: Array(Self.words[dice.roll(10)].utf8))
  }
}

/// What a run came to.
struct FuzzCounts {
  var accepted = 0
  var refused = 0
}

enum Fuzz {
  private static let environment = ProcessInfo.processInfo.environment
  static let count = environment["TEMPER_FUZZ_COUNT"].flatMap(Int.init) ?? 3_000
  static let seed = environment["TEMPER_FUZZ_SEED"].flatMap(UInt64.init) ?? 1

  /// Tries the corpus as it is, which must be accepted, then damaged.
  ///
  /// - Parameters:
  ///   - corpus: what the decoder accepts.
  ///   - repair: puts right what every damage breaks, a checksum say, in every second input.
  ///   - decode: throws when it refuses.
  ///   - isOwn: whether an error is one of the decoder's own.
  /// - Throws: what `decode` threw on the undamaged corpus, or that is not its own.
  static func run(
    _ name: String, _ corpus: [[UInt8]], repair: ([UInt8]) -> [UInt8] = { $0 }, decode: ([UInt8]) throws -> Void,
    isOwn: (any Error) -> Bool
  ) throws -> FuzzCounts {
    for bytes in corpus { try decode(bytes) }
    var counts = FuzzCounts()
    var mutator = Mutator(dice: Dice(seed: seed))
    for number in 0..<count {
      var bytes = mutator.mutate(corpus[number % corpus.count], others: corpus)
      if number % 2 == 1 { bytes = repair(bytes) }
      if environment["TEMPER_FUZZ_TRACE"] != nil { FileHandle.standardError.write(Data("\(name) \(number)\n".utf8)) }
      do {
        try decode(bytes)
        counts.accepted += 1
      } catch {
        guard isOwn(error) else { throw error }
        counts.refused += 1
      }
    }
    return counts
  }
}
