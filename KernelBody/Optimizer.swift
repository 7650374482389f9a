// Optimizer updates: one pass over weights, gradient and state.
//
// What is written in another place than it was read from is streamed past the caches: its reader comes after megabytes of
// other data, and a cache line that is stored to would be read from memory first.

internal import CIntrinsics

/// Stores 16 floats of an update, or `lanes` of them.
@inline(__always)
private func put(_ vector: Floats, _ pointer: UnsafeMutablePointer<Float>, _ lanes: Int, isStreamed: Bool) {
  if isStreamed && lanes == 16 { temper_stream(pointer, vector) } else { store(vector, pointer, lanes) }
}

/// Whether both begin a cache line in which nothing is read.
@inline(__always)
private func isStreamed(
  _ updated: UnsafeMutablePointer<Float>, _ current: UnsafePointer<Float>, and other: UnsafeMutablePointer<Float>
) -> Bool {
  UnsafePointer(updated) != current && (UInt(bitPattern: updated) | UInt(bitPattern: other)) % 64 == 0
}

extension Body {
  package static func sgdStep(
    _ weights: UnsafePointer<Float>, gradient: UnsafePointer<Float>, momentumBuffer: UnsafePointer<Float>,
    updatedWeights: UnsafeMutablePointer<Float>, updatedMomentumBuffer: UnsafeMutablePointer<Float>, count: Int,
    learningRate: Float, momentum: Float, nesterov: Bool, weightDecay: Float, gradientScale: Float, part: Int,
    of parts: Int
  ) {
    let (decay, momentum) = (Floats(repeating: weightDecay), Floats(repeating: momentum))
    let rate = Floats(repeating: -learningRate)
    let isStreamed = isStreamed(updatedWeights, weights, and: updatedMomentumBuffer)
    defer { if isStreamed { temper_stream_end() } }
    forVectors(count: count, part: part, of: parts) { i, lanes in
      let w = load(weights + i, lanes)
      let g = fma(decay, w, load(gradient + i, lanes) * gradientScale)
      let buffer = fma(momentum, load(momentumBuffer + i, lanes), g)
      put(buffer, updatedMomentumBuffer + i, lanes, isStreamed: isStreamed)
      let step = nesterov ? fma(momentum, buffer, g) : buffer
      put(fma(rate, step, w), updatedWeights + i, lanes, isStreamed: isStreamed)
    }
  }

  package static func adamWStep(
    _ weights: UnsafePointer<Float>, gradient: UnsafePointer<Float>, firstMoment: UnsafePointer<Float>,
    secondMoment: UnsafePointer<Float>, updatedWeights: UnsafeMutablePointer<Float>,
    updatedFirstMoment: UnsafeMutablePointer<Float>, updatedSecondMoment: UnsafeMutablePointer<Float>, count: Int,
    learningRate: Float, beta1: Float, beta2: Float, epsilon: Float, weightDecay: Float, biasCorrection1: Float,
    biasCorrection2: Float, gradientScale: Float, part: Int, of parts: Int
  ) {
    let keep = 1 - learningRate * weightDecay
    let rate = Floats(repeating: -learningRate / biasCorrection1)
    let inverseRoot = Floats(repeating: 1 / temper_square_root(Floats(repeating: biasCorrection2))[0])
    let (beta1, rest1) = (Floats(repeating: beta1), 1 - beta1)
    let (beta2, rest2) = (Floats(repeating: beta2), 1 - beta2)
    let epsilon = Floats(repeating: epsilon)
    forVectors(count: count, part: part, of: parts) { i, lanes in
      let g = load(gradient + i, lanes) * gradientScale
      let m = fma(beta1, load(firstMoment + i, lanes), g * rest1)
      let v = fma(beta2, load(secondMoment + i, lanes), g * g * rest2)
      store(m, updatedFirstMoment + i, lanes)
      store(v, updatedSecondMoment + i, lanes)
      let step = m / fma(temper_square_root(v), inverseRoot, epsilon)
      store(fma(rate, step, load(weights + i, lanes) * keep), updatedWeights + i, lanes)
    }
  }

  package static func emaUpdate(
    _ average: UnsafeMutablePointer<Float>, weights: UnsafePointer<Float>, count: Int, decay: Float, part: Int,
    of parts: Int
  ) {
    let rest = Floats(repeating: 1 - decay)
    forVectors(count: count, part: part, of: parts) { i, lanes in
      let a = load(average + i, lanes)
      store(fma(rest, load(weights + i, lanes) - a, a), average + i, lanes)
    }
  }
}
