// Normalized, augmented batches, against a plain twin.

import JobSpec
import Testing

@testable import Data

@Suite("batches")
struct BatchAssemblerTests {
  private func assembler(
    _ samples: SampleSet, _ augmentation: JobSpec.Augmentation, mean: [Double] = [92], deviation: [Double] = [8],
    seed: UInt64 = 1
  ) throws(DataError) -> BatchAssembler {
    var normalization = JobSpec.Normalization()
    normalization.mean = mean
    normalization.deviation = deviation
    return try BatchAssembler(samples: samples, normalization: normalization, augmentation: augmentation, seed: seed)
  }

  private func training(
    _ assembler: BatchAssembler, _ samples: SampleSet, _ indices: [Int32], epoch: Int = 1, step: Int = 0,
    firstSlot: Int = 0
  ) -> (pixels: [Float], labels: [Int32]) {
    var pixels = [Float](repeating: .nan, count: indices.count * samples.sampleByteCount)
    var labels = [Int32](repeating: -1, count: indices.count)
    pixels.withUnsafeMutableBufferPointer { output in
      labels.withUnsafeMutableBufferPointer { labels in
        indices.withUnsafeBufferPointer {
          assembler.assembleTraining(
            indices: $0, epoch: epoch, step: step, firstSlot: firstSlot, into: output.baseAddress!,
            labels: labels.baseAddress!)
        }
      }
    }
    return (pixels, labels)
  }

  private func everything(shift: Int) -> JobSpec.Augmentation {
    var augmentation = JobSpec.Augmentation()
    augmentation.flipHorizontal = true
    augmentation.flipVertical = true
    augmentation.shift = shift
    return augmentation
  }

  @Test("pixels are normalized per channel and labels follow", arguments: [1, 3])
  func normalization(channels: Int) throws {
    let samples = sampleSet(count: 4, height: 5, width: 7, channels: channels)
    let mean = (0..<channels).map { 92.5 + Double($0) }
    let deviation = (0..<channels).map { 8.25 + Double($0) }
    let assembler = try assembler(samples, JobSpec.Augmentation(), mean: mean, deviation: deviation)
    let (pixels, labels) = training(assembler, samples, [2, 0, 3])
    #expect(labels == [2, 0, 0])
    for (slot, index) in [2, 0, 3].enumerated() {
      for i in 0..<samples.sampleByteCount {
        let c = i % channels
        let expected = (Float(samples.pixels(index)[i]) - Float(mean[c])) / Float(deviation[c])
        #expect(pixels[slot * samples.sampleByteCount + i] == expected)
      }
    }
  }

  @Test("each image is one of the flips and shifts, filled by reflection", arguments: [1, 3])
  func augmentation(channels: Int) throws {
    let (height, width) = (6, 5)
    let samples = sampleSet(count: 2, height: height, width: width, channels: channels)
    let assembler = try assembler(samples, everything(shift: 1), mean: [0], deviation: [1])
    func reflect(_ position: Int, _ count: Int) -> Int {
      var position = position
      while position < 0 || position >= count { position = position < 0 ? -position : 2 * (count - 1) - position }
      return position
    }
    var variants: [[Float]] = []
    for (flipX, flipY) in [(false, false), (true, false), (false, true), (true, true)] {
      for shiftY in -1...1 {
        for shiftX in -1...1 {
          variants.append(
            (0..<(height * width * channels)).map { i in
              let (y, x, c) = (i / channels / width, i / channels % width, i % channels)
              let row = reflect((flipY ? height - 1 - y : y) + shiftY, height)
              let column = reflect((flipX ? width - 1 - x : x) + shiftX, width)
              return Float(samples.pixels(1)[(row * width + column) * channels + c])
            })
        }
      }
    }
    var seen: Set<Int> = []
    for step in 0..<40 {
      let (pixels, _) = training(assembler, samples, Array(repeating: 1, count: 32), step: step)
      for slot in 0..<32 {
        let image = Array(pixels[(slot * samples.sampleByteCount)..<((slot + 1) * samples.sampleByteCount)])
        let variant = variants.firstIndex(of: image)
        #expect(variant != nil)
        seen.insert(variant ?? -1)
      }
    }
    // 1,280 draws of 36; reflections of shifts up to 1 are all different on 6 x 5 pixels.
    #expect(seen == Set(0..<36))
  }

  @Test("any range of slots gives the bits of the whole batch")
  func ranges() throws {
    let samples = sampleSet(count: 10, height: 8, width: 8, channels: 1)
    let assembler = try assembler(samples, everything(shift: 2))
    let indices: [Int32] = [3, 1, 4, 1, 5, 9, 2, 6]
    let whole = training(assembler, samples, indices, epoch: 2, step: 7)
    for slots in [0..<1, 1..<4, 4..<8] {
      let part = training(assembler, samples, Array(indices[slots]), epoch: 2, step: 7, firstSlot: slots.lowerBound)
      #expect(part.pixels == Array(whole.pixels[(slots.lowerBound * 64)..<(slots.upperBound * 64)]))
      #expect(part.labels == Array(whole.labels[slots]))
    }
  }

  @Test("a sample that is drawn again looks different, in the same step, another step or another epoch")
  func repeats() throws {
    let samples = sampleSet(count: 1, height: 32, width: 32, channels: 1)
    let assembler = try assembler(samples, everything(shift: 8))
    var images: Set<[Float]> = []
    for epoch in 1...3 {
      for step in 0..<3 {
        let (pixels, _) = training(assembler, samples, [0, 0, 0], epoch: epoch, step: step)
        for slot in 0..<3 { images.insert(Array(pixels[(slot * 1_024)..<((slot + 1) * 1_024)])) }
      }
    }
    #expect(images.count == 27)
  }

  @Test("evaluation changes nothing")
  func evaluation() throws {
    let samples = sampleSet(count: 3, height: 4, width: 4, channels: 1)
    let plain = training(try assembler(samples, JobSpec.Augmentation()), samples, [0, 1, 2])
    let augmented = try assembler(samples, everything(shift: 2))
    var pixels = [Float](repeating: .nan, count: 48)
    var labels = [Int32](repeating: -1, count: 3)
    let indices: [Int32] = [0, 1, 2]
    indices.withUnsafeBufferPointer { augmented.assemble(indices: $0, into: &pixels, labels: &labels) }
    #expect(pixels == plain.pixels)
    #expect(labels == plain.labels)
  }

  @Test("normalization and shifts that do not fit the images are refused")
  func refusals() {
    let samples = sampleSet(count: 1, height: 4, width: 6, channels: 3)
    #expect(
      words { () throws(DataError) in
        try assembler(samples, JobSpec.Augmentation(), mean: [1, 2], deviation: [1, 2])
      } == "data.normalization: error: data.normalization has 2 channels, the images have 3\n"
        + "  hint: give one value, or one per channel")
    #expect(
      words { () throws(DataError) in try assembler(samples, everything(shift: 4)) }
        == "data.augmentation.shift: error: images have 4 x 6 pixels; a shift of 4 is too far\n"
        + "  hint: shift by less than the size of an image")
  }
}
