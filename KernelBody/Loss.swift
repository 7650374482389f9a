// Softmax and cross-entropy, one sample at a time: classes are few, so the sum over them is a plain ascending loop.

/// Largest value of a row, and ln of the sum of e^(value - largest), the sum in ascending order.
@inline(__always)
private func logSumExp(_ row: UnsafePointer<Float>, _ classes: Int) -> (largest: Float, logSum: Float, sum: Float) {
  var largest = row[0]
  for k in 1..<max(classes, 1) where row[k] > largest || row[k] != row[k] { largest = row[k] }
  var sum: Float = 0
  forVectors(0..<classes) { k, lanes in
    let e = kernelExponential(load(row + k, lanes) - largest)
    for lane in 0..<lanes { sum += e[lane] }
  }
  return (largest, kernelLogarithm(Floats(repeating: sum))[0], sum)
}

extension Body {
  package static func softmaxCrossEntropy(
    _ logits: UnsafePointer<Float>, samples: Int, classes: Int, labels: UnsafePointer<Int32>, smoothing: Float,
    gradientScale: Float, losses: UnsafeMutablePointer<Float>, gradient: UnsafeMutablePointer<Float>?, part: Int,
    of parts: Int
  ) {
    let everywhere = smoothing / Float(classes)
    for sample in share(samples, part: part, of: parts) {
      let row = logits + sample * classes
      let label = Int(labels[sample])
      let (largest, logSum, sum) = logSumExp(row, classes)
      // -sum of target * (logit - largest - logSum), the smoothing's share only when there is one.
      var loss = (1 - smoothing) * (logSum - (row[label] - largest))
      if smoothing > 0 {
        var total: Float = 0
        for k in 0..<classes { total += logSum - (row[k] - largest) }
        loss += everywhere * total
      }
      losses[sample] = loss
      guard let gradient = gradient.map({ $0 + sample * classes }) else { continue }
      forVectors(0..<classes) { k, lanes in
        let probability = kernelExponential(load(row + k, lanes) - largest) / sum
        store((probability - everywhere) * gradientScale, gradient + k, lanes)
      }
      let block = label / 16 * 16
      let e = kernelExponential(load(row + block, min(16, classes - block)) - largest)[label - block]
      gradient[label] = (e / sum - everywhere - (1 - smoothing)) * gradientScale
    }
  }

  package static func softmax(
    _ logits: UnsafePointer<Float>, samples: Int, classes: Int, probabilities: UnsafeMutablePointer<Float>, part: Int,
    of parts: Int
  ) {
    for sample in share(samples, part: part, of: parts) {
      let row = logits + sample * classes
      let (largest, _, sum) = logSumExp(row, classes)
      forVectors(0..<classes) { k, lanes in
        store(kernelExponential(load(row + k, lanes) - largest) / sum, probabilities + sample * classes + k, lanes)
      }
    }
  }
}
