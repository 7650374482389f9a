// A histogram of magnitudes whose merge is exact, associative and independent of order, so that calibration gives the
// same bits for any number of workers.
// Bins have width 2^exponent and start at 0. The exponent is a function of the largest magnitude alone; when it grows,
// adjacent bins are added pairwise, which is exact because floor(floor(x / w) / 2) = floor(x / (2 w)) and counts are
// integers. pytorch-quantization instead keeps the first batch's width, torch re-bins by interpolation: both depend on
// the order of batches. The price: between 1024 and 2048 of the bins are in use.

/// Counts of |x| in 2048 bins of a power-of-two width.
public struct AbsHistogram: Sendable, Hashable {
  /// Number of bins.
  public static let binCount = 2048
  /// Smallest exponent of the bin width; tensors below 2^-89 all fall into few bins.
  static let smallestExponent = -100

  /// Values counted per bin; bin i holds i * binWidth <= |x| < (i + 1) * binWidth.
  public private(set) var counts = [UInt64](repeating: 0, count: binCount)
  /// Bin width is 2^exponent.
  public private(set) var exponent = smallestExponent
  /// Largest magnitude counted; 0 when empty.
  public private(set) var maximum: Float = 0
  /// NaN and infinite values met; they are in no bin.
  public private(set) var nonFiniteCount: UInt64 = 0

  /// An empty histogram.
  public init() {}

  /// Width of a bin, a power of two.
  public var binWidth: Double { Double(sign: .plus, exponent: exponent, significand: 1) }
  /// Values counted.
  public var totalCount: UInt64 { counts.reduce(0, +) }
  /// Bins up to the last one that is not empty.
  public var usedBinCount: Int { (counts.lastIndex { $0 > 0 } ?? -1) + 1 }

  /// Counts every value of a buffer.
  public mutating func add(_ values: UnsafeBufferPointer<Float>) {
    // Magnitudes order like their bits, and integers make a loop that vectorizes.
    var largest: UInt32 = 0
    for value in values {
      let bits = value.magnitude.bitPattern
      largest = max(largest, bits < Float.infinity.bitPattern ? bits : 0)
    }
    grow(toHold: Float(bitPattern: largest))
    let inverseWidth = Float(sign: .plus, exponent: -exponent, significand: 1)
    var nonFinite: UInt64 = 0
    counts.withUnsafeMutableBufferPointer { counts in
      for value in values {
        guard value.isFinite else {
          nonFinite += 1
          continue
        }
        counts[Int(value.magnitude * inverseWidth)] += 1
      }
    }
    nonFiniteCount += nonFinite
  }

  /// Counts every value of an array.
  public mutating func add(_ values: [Float]) { values.withUnsafeBufferPointer { add($0) } }

  /// Adds another histogram's counts; the result does not depend on which is added to which.
  public mutating func merge(_ other: AbsHistogram) {
    var other = other
    grow(toHold: other.maximum)
    other.grow(toHold: maximum)
    for bin in counts.indices { counts[bin] += other.counts[bin] }
    nonFiniteCount += other.nonFiniteCount
  }

  /// Widens the bins until the magnitude falls into one.
  private mutating func grow(toHold magnitude: Float) {
    maximum = max(maximum, magnitude)
    guard maximum > 0 else { return }
    // |x| < 2^(x.exponent + 1) = 2048 * 2^(x.exponent - 10)
    let needed = Int(maximum.exponent) - 10
    while exponent < needed {
      if counts.allSatisfy({ $0 == 0 }) {
        exponent = needed
        return
      }
      for bin in 0..<Self.binCount / 2 { counts[bin] = counts[2 * bin] + counts[2 * bin + 1] }
      for bin in Self.binCount / 2..<Self.binCount { counts[bin] = 0 }
      exponent += 1
    }
  }
}
