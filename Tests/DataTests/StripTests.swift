// The synthetic strip: the same bytes everywhere, exact mix, visible defects.

import JobSpec
import Testing

@testable import Data

@Suite("the synthetic strip")
struct StripTests {
  private func strip(train: Int = 1_000, size: Int = 64, highlights: JobSpec.Strip.Highlights = .dim) -> JobSpec.Strip {
    var strip = JobSpec.Strip()
    strip.trainCount = train
    strip.testCount = 100
    strip.size = size
    strip.highlights = highlights
    return strip
  }

  @Test("the bytes are frozen: every machine and release makes the same set")
  func golden() {
    for (size, split, expected) in [(64, Split.train, "9c0ed90f"), (32, .test, "f026a38c")] as [(Int, Split, String)] {
      let chunk = StripGenerator(strip(size: size), split: split).generate(0..<60)
      #expect(Chunk.hexadecimal(Chunk.checksum(chunk.pixels[...])) == expected, "\(size) \(split)")
    }
  }

  @Test("a range of patches is the same as the patches one by one")
  func ranges() {
    let generator = StripGenerator(strip(), split: .train)
    let whole = generator.generate(100..<110)
    for index in 100..<110 {
      let one = generator.generate(index..<(index + 1))
      #expect(one.labels == [whole.labels[index - 100]])
      #expect(one.pixels == Array(whole.pixels[((index - 100) * 4_096)..<((index - 99) * 4_096)]))
    }
  }

  @Test("the mix is exact, and the classes are spread over the set")
  func mix() {
    let generator = StripGenerator(strip(), split: .train)
    #expect(generator.classCounts == [920, 30, 20, 20, 10])
    let labels = (0..<1_000).map { generator.label($0) }
    for (label, count) in generator.classCounts.enumerated() { #expect(labels.filter { $0 == label }.count == count) }
    let early = labels[..<500].filter { $0 != 0 }.count
    #expect((20...60).contains(early), "\(early) of 80 defects in the first half")
  }

  @Test("seeds and splits give other patches")
  func seeds() {
    var other = strip()
    other.seed = 2
    let patches = [
      StripGenerator(strip(), split: .train), StripGenerator(strip(), split: .test),
      StripGenerator(other, split: .train),
    ].map { $0.generate(0..<1).pixels }
    #expect(Set(patches).count == 3)
  }

  /// Largest and smallest gray level, and the mean, of one patch of each kind.
  private func extremes(_ highlights: JobSpec.Strip.Highlights) -> [[(low: UInt8, high: UInt8, mean: Double)]] {
    let generator = StripGenerator(strip(highlights: highlights), split: .train)
    var found = Array(repeating: [(low: UInt8, high: UInt8, mean: Double)](), count: 5)
    for index in 0..<1_000 where found[generator.label(index)].count < 10 {
      let pixels = generator.generate(index..<(index + 1)).pixels
      let mean = pixels.reduce(0) { $0 + Double($1) } / Double(pixels.count)
      found[generator.label(index)].append((pixels.min() ?? 0, pixels.max() ?? 0, mean))
    }
    return found
  }

  @Test("particles are far brighter than the rest; cracks and pits darker; the background has its statistics")
  func levels() {
    let found = extremes(.dim)
    // Background 75...110, texture and noise within 4 * (6 + 1.2), dim highlights up to 45.
    #expect(found[0].allSatisfy { (70.0...115).contains($0.mean) && $0.high < 190 })
    #expect(found[3].allSatisfy { $0.high > 170 })
    #expect(found[2].allSatisfy { Double($0.low) < $0.mean - 15 })
    #expect(found[4].allSatisfy { Double($0.low) < $0.mean - 12 })
    #expect(found[1].allSatisfy { Double($0.high) > $0.mean + 12 })
    let mean = found.flatMap { $0 }.reduce(0) { $0 + $1.mean } / 50
    #expect(abs(mean - 92.5) < 6)
  }

  @Test("bright highlights are brighter than dim ones, and nothing else changes")
  func highlights() {
    let dim = extremes(.dim)
    let bright = extremes(.bright)
    #expect(zip(dim[0], bright[0]).contains { $1.high > $0.high + 20 })
    #expect(zip(dim[0], bright[0]).contains { $1.high == $0.high && $1.mean == $0.mean })
  }

  @Test("the texture has unit variance along and across, whatever its length")
  func texture() {
    let canvas = StripCanvas(size: 64)
    var squares = 0.0
    let patches = 60
    for index in 0..<patches {
      var random = RandomSequence(CounterRandom(seed: 5, .stripImage, 9, index))
      StripTexture.paint(on: canvas, random: &random, noise: CounterRandom(seed: 5, .stripImage, 9, index, 1))
      // Differences over half a patch across remove the mean and most of the gradient.
      for y in 0..<64 {
        for x in 0..<32 {
          let difference = Double(canvas.gray[y * 64 + x] - canvas.gray[y * 64 + x + 32])
          squares += difference * difference
        }
      }
    }
    let variance = squares / Double(patches * 64 * 32) / 2
    // sigma^2 (0.75^2 + 0.5^2) + 1.2^2 with sigma^2 averaging 21 over U(3, 6), and the gradient's
    // (12 * 32 / 63)^2 / 3 / 2 = 6.2.
    let expected = 21 * 0.8125 + 1.44 + 6.2
    #expect(abs(variance / expected - 1) < 0.15, "\(variance) for \(expected)")
  }
}
