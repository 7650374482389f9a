// The rolled surface: streaks along the rolling direction (y), camera noise, uneven light.
//
//   I = mu + sigma * (0.75 A + 0.5 B) + 1.2 white + gradient
//
// A and B are white noise blurred by Gaussians of (sigma_x, sigma_y) = (0.6, L) and (3, 2L) pixels, each of unit
// variance. Blurring a padded field by up to 48 pixels would take a hundred times as long as painting the rest, so the
// field is built where it has content: along y it is a sum of Gaussians of deviation sigma_y around random knots
// sigma_y apart. Its variance then ripples by 2 exp(-pi^2) = 1e-4 (Poisson's summation), which nobody can see or learn.

enum StripTexture {
  /// Knots that reach a row on each side: a Gaussian beyond 4 deviations is taken as 0.
  private static let knotsAround = 4

  /// Paints the background over the whole canvas.
  static func paint(on canvas: StripCanvas, random: inout RandomSequence, noise: CounterRandom) {
    let size = canvas.size
    let mean = random.uniform(75...110)
    let deviation = random.uniform(3...6)
    let length = random.uniform(8...24)
    let across = random.uniform(-12...12) / Float(size - 1)
    let along = random.uniform(-5...5) / Float(size - 1)
    let middle = Float(size - 1) / 2

    NoiseSource.fill(canvas.gray, noise)
    for y in 0..<size {
      let level = mean + along * (Float(y) - middle)
      for x in 0..<size {
        canvas.gray[y * size + x] = level + across * (Float(x) - middle) + 1.2 * canvas.gray[y * size + x]
      }
    }
    let fineNoise = CounterRandom(seed: random.bits(), .stripImage)
    addStreaks(on: canvas, deviationX: 0.6, deviationY: length, amplitude: 0.75 * deviation, noise: fineNoise)
    let coarseNoise = CounterRandom(seed: random.bits(), .stripImage)
    addStreaks(on: canvas, deviationX: 3, deviationY: 2 * length, amplitude: 0.5 * deviation, noise: coarseNoise)
  }

  private static func addStreaks(
    on canvas: StripCanvas, deviationX: Float, deviationY: Float, amplitude: Float, noise: CounterRandom
  ) {
    let size = canvas.size
    let knots = Int((Float(size) / deviationY).rounded(.up)) + 2 * knotsAround
    let kernel = unitKernel(deviation: deviationX)
    let padded = size + kernel.count - 1
    // [knots, padded] noise, then [knots, size] blurred across; both live on the stack or the heap only for this patch.
    withUnsafeTemporaryAllocation(of: Float.self, capacity: knots * padded) { white in
      NoiseSource.fill(white, noise)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: knots * size) { smooth in
        smooth.initialize(repeating: 0)
        for knot in 0..<knots {
          for (tap, weight) in kernel.enumerated() {
            for x in 0..<size { smooth[knot * size + x] += weight * white[knot * padded + x + tap] }
          }
        }
        // Sum over knots of exp(-(t - k)^2) is sqrt(pi): its root makes the variance 1.
        let scale = amplitude / 1.3313353
        for y in 0..<size {
          let position = Float(y) / deviationY + Float(knotsAround)
          let nearest = Int(position)
          for knot in (nearest - knotsAround + 1)...min(nearest + knotsAround, knots - 1) {
            let weight = scale * Coverage.gaussian(position - Float(knot))
            for x in 0..<size { canvas.gray[y * size + x] += weight * smooth[knot * size + x] }
          }
        }
      }
    }
  }

  /// A sampled Gaussian out to 3 deviations whose squares add up to 1, so unit noise keeps unit variance.
  private static func unitKernel(deviation: Float) -> [Float] {
    let radius = Int((3 * deviation).rounded(.up))
    let weights = (-radius...radius).map { Coverage.gaussian(Float($0) / deviation) }
    let norm = weights.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return weights.map { $0 / norm }
  }
}
