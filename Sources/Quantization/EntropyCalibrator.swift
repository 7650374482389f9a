// Entropy (Kullback-Leibler) calibration as TensorRT's and pytorch-quantization's.
//
// Letters: c[j] counts per bin, with c[0] := c[1] (zeros after ReLU say nothing about the range); T their total;
// i the candidate: bins 0..<i are kept; N levels, 128 for int8.
//   P = c[0..<i] with the tail's mass added to bin i-1, divided by T.
//   Q = bins 0..<i in N groups, group of j = floor(j N / i); every non-empty bin gets its group's sum divided by the
//       group's number of non-empty bins (before the tail is added); divided by S = sum of c[0..<i].
//   D(i) = sum over P > 0 of P log(P / Q), infinite when some P > 0 has Q = 0.
// amax is the upper edge of bin i-1 for the last i of 128...used with the least D.
//
// With A = S_g / n_g (group sum, non-empty bins) and prefix sums of c, of c log c and of the number of non-empty bins,
// a group costs two differences and one logarithm instead of a pass over its bins: 2,000 candidates x 128 groups.
// The logarithm is our own: libm's differs between machines, and the chosen scale must not.

enum EntropyCalibrator {
  /// The bin edge with the least divergence; the last used edge when there are fewer bins than candidates.
  static func edge(of histogram: AbsHistogram, levels: Int) -> Double {
    let used = histogram.usedBinCount
    guard used >= CalibrationMethod.firstCandidate else { return Double(used) * histogram.binWidth }
    // Not `map(Double.init)`: for UInt64 that may mean init(bitPattern:), and subnormal counts give almost the same answer.
    var counts = histogram.counts[..<used].map { Double($0) }
    counts[0] = counts[1]
    let sums = PrefixSums(counts)
    var best = (divergence: Double.infinity, edge: used)
    for candidate in CalibrationMethod.firstCandidate...used {
      let divergence = divergence(keeping: candidate, counts: counts, sums: sums, levels: levels)
      if divergence <= best.divergence { best = (divergence, candidate) }
    }
    return Double(best.edge) * histogram.binWidth
  }

  /// D(i) of the header.
  private static func divergence(keeping kept: Int, counts: [Double], sums: PrefixSums, levels: Int) -> Double {
    let total = sums.count[counts.count]
    let inside = sums.count[kept]
    let tail = total - inside
    let last = counts[kept - 1]
    if last == 0, tail > 0 { return .infinity }
    // T * sum P log(P / Q) = sum c log c - sum over groups S_g log A_g + T log(S / T), the tail's bin corrected.
    var sum = sums.countLog[kept]
    var lastAverage = 1.0
    for level in 0..<levels {
      let start = (level * kept + levels - 1) / levels
      let end = ((level + 1) * kept + levels - 1) / levels
      let filled = sums.filled[end] - sums.filled[start]
      guard filled > 0 else { continue }
      let groupSum = sums.count[end] - sums.count[start]
      let logAverage = NaturalLogarithm.of(groupSum / filled)
      sum -= groupSum * logAverage
      if end == kept { lastAverage = logAverage }
    }
    if tail > 0 {
      let raised = last + tail
      sum += raised * NaturalLogarithm.of(raised) - last * NaturalLogarithm.of(last) - tail * lastAverage
    }
    return sum / total + NaturalLogarithm.of(inside / total)
  }

  /// Running totals: entry i covers bins 0..<i.
  private struct PrefixSums {
    var count: [Double] = [0]
    var countLog: [Double] = [0]
    var filled: [Double] = [0]

    init(_ counts: [Double]) {
      for (bin, value) in counts.enumerated() {
        count.append(count[bin] + value)
        countLog.append(countLog[bin] + (value > 0 ? value * NaturalLogarithm.of(value) : 0))
        filled.append(filled[bin] + (value > 0 ? 1 : 0))
      }
    }
  }
}

/// log in double from additions, multiplications and one division only, so every machine gets the same bits.
///
/// x = m 2^e with m in 0.707...1.414; log m = 2 (z + z^3/3 + z^5/5 + ...), z = (m - 1) / (m + 1), |z| <= 0.1716.
/// Ten terms leave a relative error below z^20 / 21 < 3e-17.
enum NaturalLogarithm {
  private static let logOfTwo = 0.693_147_180_559_945_3

  static func of(_ value: Double) -> Double {
    precondition(value > 0 && value.isFinite, "logarithm of \(value)")
    var exponent = Double(value.exponent)
    var significand = value.significand
    if significand > 1.414_213_562_373_095_1 {
      significand *= 0.5
      exponent += 1
    }
    let z = (significand - 1) / (significand + 1)
    let square = z * z
    var series = 0.0
    for term in stride(from: 19, through: 1, by: -2) { series = series * square + 1 / Double(term) }
    return exponent * logOfTwo + 2 * z * series
  }
}
