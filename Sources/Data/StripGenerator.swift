// The synthetic steel strip: gray patches of a cold-rolled surface seen by a line camera, one class per patch.
//
// Surface in StripTexture.swift; stains, highlights and defects in StripShapes.swift. Everything about patch i of a
// split is a function of (seed, split, i), in arithmetic that is exact on every machine (ExactMath; Float +, -, *, /
// and square root), so the set is bit-identical wherever it is made, and any range of it can be made alone, on any
// thread. Used by StorePreparation. It proves the system (sampling, calibration, QAT), not the accuracy on a mill's own
// strip.

public import JobSpec

/// Generates patches of one split.
public struct StripGenerator: Sendable {
  /// Patches in the split.
  public let count: Int
  /// Height and width of a patch in pixels.
  public let size: Int
  /// Patches of each class, in the order of `JobSpec.Strip.classNames`: exact by largest remainder.
  public let classCounts: [Int]
  private let seed: UInt64
  private let split: Int
  private let highlights: JobSpec.Strip.Highlights
  private let order: Permutation

  /// Plans a split.
  public init(_ strip: JobSpec.Strip, split: Split) {
    count = split == .train ? strip.trainCount : strip.testCount
    size = strip.size
    seed = strip.seed
    highlights = strip.highlights
    self.split = split == .train ? 0 : 1
    classCounts = Apportionment.largestRemainder(shares: strip.mix.shares, total: count)
    order = Permutation(count: count, random: CounterRandom(seed: seed, .stripClass, self.split))
  }

  /// The label of a patch.
  public func label(_ index: Int) -> Int {
    var position = order[index]
    for (label, count) in classCounts.enumerated() {
      if position < count { return label }
      position -= count
    }
    preconditionFailure("position \(position) beyond \(classCounts)")
  }

  /// Generates some patches.
  public func generate(_ range: Range<Int>) -> Chunk {
    precondition(range.lowerBound >= 0 && range.upperBound <= count && !range.isEmpty, "patches \(range) of \(count)")
    let canvas = StripCanvas(size: size)
    let area = size * size
    let pixels = [UInt8](unsafeUninitializedCapacity: range.count * area) { buffer, initialized in
      for (position, index) in range.enumerated() {
        paint(index, on: canvas)
        canvas.round(into: UnsafeMutableBufferPointer(rebasing: buffer[(position * area)..<((position + 1) * area)]))
      }
      initialized = range.count * area
    }
    return Chunk(labels: range.map { UInt16(label($0)) }, pixels: pixels)
  }

  private func paint(_ index: Int, on canvas: StripCanvas) {
    var random = RandomSequence(CounterRandom(seed: seed, .stripImage, split, index))
    let noise = CounterRandom(seed: seed, .stripImage, split, index, 1)
    StripTexture.paint(on: canvas, random: &random, noise: noise)
    if random.chance(0.2) { StripShapes.stain(on: canvas, random: &random) }
    if random.chance(0.3) {
      StripShapes.highlight(on: canvas, amplitude: highlights == .dim ? 15...45 : 40...100, random: &random)
    }
    switch label(index) {
    case 1: StripShapes.scratch(on: canvas, random: &random)
    case 2: StripShapes.crack(on: canvas, random: &random)
    case 3: StripShapes.particle(on: canvas, random: &random)
    case 4: StripShapes.pits(on: canvas, random: &random)
    default: break
    }
  }
}

/// Numbers taken one after another from a stateless stream.
struct RandomSequence {
  private let random: CounterRandom
  private var counter = 0

  init(_ random: CounterRandom) { self.random = random }

  mutating func bits() -> UInt64 {
    defer { counter += 1 }
    return random.bits(counter)
  }

  /// Uniform in a range.
  mutating func uniform(_ range: ClosedRange<Float>) -> Float {
    range.lowerBound + (range.upperBound - range.lowerBound) * (Float(bits() >> 40) * 0x1p-24)
  }

  /// Uniform in a range of integers.
  mutating func integer(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + Int(bits().multipliedFullWidth(by: UInt64(range.count)).high)
  }

  mutating func chance(_ probability: Float) -> Bool { uniform(0...1) < probability }

  /// Nearly normal, zero mean, unit variance.
  mutating func normal() -> Float { NoiseSource.pair(bits()).0 }
}

/// Nearly normal noise, two values from each 64 random bits.
enum NoiseSource {
  /// Deviation of the sum of four bytes: sqrt(4 * (256^2 - 1) / 12).
  private static let inverseDeviation: Float = 1 / 147.79941

  /// Two independent sums of four bytes, scaled to zero mean and unit variance; the tails end at 3.45 deviations.
  ///
  /// A camera's noise needs no more, and Box and Muller's transform takes ten times as long.
  static func pair(_ bits: UInt64) -> (Float, Float) {
    let bytes: UInt64 = 0x00FF_00FF_00FF_00FF
    let pairs = (bits & bytes) &+ (bits >> 8 & bytes)
    let quads = pairs &+ pairs >> 16
    let low = Int32(truncatingIfNeeded: quads & 0xFFFF) - 510
    let high = Int32(truncatingIfNeeded: quads >> 32 & 0xFFFF) - 510
    return (Float(low) * inverseDeviation, Float(high) * inverseDeviation)
  }

  /// Fills a buffer from counter 0 of a stream.
  static func fill(_ buffer: UnsafeMutableBufferPointer<Float>, _ random: CounterRandom) {
    for i in 0..<(buffer.count / 2) { (buffer[2 * i], buffer[2 * i + 1]) = pair(random.bits(i)) }
    if buffer.count % 2 == 1 { buffer[buffer.count - 1] = pair(random.bits(buffer.count / 2)).0 }
  }
}
