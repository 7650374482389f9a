// From sample indices to a normalized, augmented batch in NHWC floats.
//
// Random changes are a function of (seed, epoch, step, slot, sample): a sample that balanced sampling draws twice in an
// epoch looks different each time, and any worker that assembles a slot makes the same bits.
//
// A shift moves the image by whole pixels and fills the border by reflection without repeating the edge pixel
// (dcb|abcd|cba -> index -1 is b). Not zeros and not the mean: either would draw a step edge into the strip's texture
// or a gray frame around Fashion-MNIST's black ground, and the network would learn it.

public import JobSpec

/// Fills batches; holds no state between calls, so several threads may share it.
public struct BatchAssembler: Sendable {
  private let samples: SampleSet
  private let augmentation: JobSpec.Augmentation
  private let seed: UInt64
  /// Mean and deviation of each value of a row: [width * channels].
  private let rowMean: [Float]
  private let rowDeviation: [Float]

  /// Plans the assembly of batches from one split.
  ///
  /// - Throws: `DataError` `.unsuitable` when normalization has another number of channels or a shift is not smaller
  ///   than the image.
  public init(
    samples: SampleSet, normalization: JobSpec.Normalization, augmentation: JobSpec.Augmentation, seed: UInt64
  ) throws(DataError) {
    let channels = samples.channels
    for values in [normalization.mean, normalization.deviation] where values.count != 1 && values.count != channels {
      throw DataError(
        code: .unsuitable, message: "data.normalization has \(values.count) channels, the images have \(channels)",
        hint: "give one value, or one per channel", location: "data.normalization")
    }
    guard augmentation.shift < min(samples.height, samples.width) else {
      throw DataError(
        code: .unsuitable,
        message: "images have \(samples.height) x \(samples.width) pixels; a shift of \(augmentation.shift) is too far",
        hint: "shift by less than the size of an image", location: "data.augmentation.shift")
    }
    self.samples = samples
    self.augmentation = augmentation
    self.seed = seed
    func row(_ values: [Double]) -> [Float] {
      (0..<(samples.width * channels)).map { Float(values.count == 1 ? values[0] : values[$0 % channels]) }
    }
    rowMean = row(normalization.mean)
    rowDeviation = row(normalization.deviation)
  }

  /// Writes a training batch, or the part of one that a worker holds.
  ///
  /// Allocates nothing; any thread may call it.
  ///
  /// - Parameters:
  ///   - indices: Sample indices of consecutive slots, as `Sampler.fill` gives them.
  ///   - epoch: Epoch, counted from 1.
  ///   - step: Step in the epoch.
  ///   - firstSlot: Slot of the global batch of `indices[0]`.
  ///   - output: [indices.count, height, width, channels] float32.
  ///   - labels: [indices.count] int32.
  public func assembleTraining(
    indices: UnsafeBufferPointer<Int32>, epoch: Int, step: Int, firstSlot: Int,
    into output: UnsafeMutablePointer<Float>, labels: UnsafeMutablePointer<Int32>
  ) {
    for (offset, index) in indices.enumerated() {
      let random = CounterRandom(seed: seed, .augmentation, epoch, step, firstSlot + offset, Int(index))
      write(
        Int(index), changed: AugmentationParameters(augmentation, random: random),
        into: output + offset * samples.sampleByteCount)
      labels[offset] = Int32(samples.label(Int(index)))
    }
  }

  /// Writes samples as they are: for evaluation and calibration.
  ///
  /// Allocates nothing; any thread may call it.
  ///
  /// - Parameters:
  ///   - indices: Sample indices.
  ///   - output: [indices.count, height, width, channels] float32.
  ///   - labels: [indices.count] int32.
  public func assemble(
    indices: UnsafeBufferPointer<Int32>, into output: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    for (offset, index) in indices.enumerated() {
      write(Int(index), changed: AugmentationParameters(), into: output + offset * samples.sampleByteCount)
      labels[offset] = Int32(samples.label(Int(index)))
    }
  }

  private func write(_ index: Int, changed: AugmentationParameters, into output: UnsafeMutablePointer<Float>) {
    let (height, rowCount) = (samples.height, samples.width * samples.channels)
    let pixels = samples.pixels(index)
    rowMean.withUnsafeBufferPointer { mean in
      rowDeviation.withUnsafeBufferPointer { deviation in
        guard let mean = mean.baseAddress, let deviation = deviation.baseAddress else { return }
        let row = BatchRow(width: samples.width, channels: samples.channels, mean: mean, deviation: deviation)
        for y in 0..<height {
          let upright = changed.flipsVertically ? height - 1 - y : y
          let source = pixels + BatchRow.reflected(upright + changed.shiftY, in: height) * rowCount
          row.write(
            source, flipped: changed.flipsHorizontally, shift: changed.shiftX, into: output + y * rowCount)
        }
      }
    }
  }
}

/// The random changes of one use of one sample.
struct AugmentationParameters: Hashable {
  var flipsHorizontally = false
  var flipsVertically = false
  var shiftX = 0
  var shiftY = 0

  /// No change.
  init() {}

  /// Draws the changes that a job asks for.
  init(_ augmentation: JobSpec.Augmentation, random: CounterRandom) {
    flipsHorizontally = augmentation.flipHorizontal && random.bits(0) >> 63 == 1
    flipsVertically = augmentation.flipVertical && random.bits(1) >> 63 == 1
    let span = 2 * augmentation.shift + 1
    if augmentation.shift > 0 {
      shiftX = random.integer(2, below: span) - augmentation.shift
      shiftY = random.integer(3, below: span) - augmentation.shift
    }
  }
}
