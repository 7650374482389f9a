// What is reported of repeated measurements: the median and how far the others lie from it.

import Foundation

/// Median and spread of repeated measurements, in the unit of the measurements.
public struct Distribution: Codable, Sendable, Hashable {
  /// The middle value; the mean of the two middle ones of an even number.
  public let median: Double
  /// The smallest value.
  public let minimum: Double
  /// The value below which a quarter lies.
  public let lowerQuartile: Double
  /// The value below which three quarters lie.
  public let upperQuartile: Double
  /// The largest value.
  public let maximum: Double

  /// Describes at least one measurement.
  public init(_ values: [Double]) {
    precondition(!values.isEmpty, "no measurements")
    let sorted = values.sorted()
    /// Linear interpolation between neighbors, as numpy's default.
    func quantile(_ share: Double) -> Double {
      let place = share * Double(sorted.count - 1)
      let lower = Int(place)
      let upper = min(lower + 1, sorted.count - 1)
      return sorted[lower] + (place - Double(lower)) * (sorted[upper] - sorted[lower])
    }
    median = quantile(0.5)
    minimum = sorted[0]
    lowerQuartile = quantile(0.25)
    upperQuartile = quantile(0.75)
    maximum = sorted[sorted.count - 1]
  }
}
