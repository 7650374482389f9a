// A square of gray levels in Float, with the few ways of painting that the strip needs.

/// A point in pixels; pixel (column, row) has its center at (column, row).
struct StripPoint {
  var x: Float
  var y: Float
}

/// Scratch memory for one patch at a time; one owner, one thread.
final class StripCanvas {
  let size: Int
  /// Gray levels, [size, size].
  let gray: UnsafeMutableBufferPointer<Float>
  /// Distance of each pixel to the strokes of the current line, [size, size].
  private let distance: UnsafeMutableBufferPointer<Float>
  private var strokes: ClosedRange<Int>?

  init(size: Int) {
    self.size = size
    gray = .allocate(capacity: size * size)
    gray.initialize(repeating: 0)
    distance = .allocate(capacity: size * size)
    distance.initialize(repeating: .infinity)
  }

  deinit {
    gray.deallocate()
    distance.deallocate()
  }

  /// Clips to 0...255 and rounds to nearest even.
  func round(into pixels: UnsafeMutableBufferPointer<UInt8>) {
    for i in 0..<(size * size) {
      // Adding 1.5 * 2^23 leaves no fraction bits, so the sum's low bits are the rounded integer.
      let shifted = min(max(gray[i], 0), 255) + 12_582_912
      pixels[i] = UInt8(truncatingIfNeeded: shifted.bitPattern)
    }
  }

  /// Rows or columns of pixel centers within a reach of an interval; nil when none is on the canvas.
  private func span(_ low: Float, _ high: Float, reach: Float) -> ClosedRange<Int>? {
    let first = max(0, Int((low - reach).rounded(.up)))
    let last = min(size - 1, Int((high + reach).rounded(.down)))
    return first <= last ? first...last : nil
  }

  /// Adds a straight stroke to the current line: pixels within `reach` learn their distance to it.
  func stroke(from a: StripPoint, to b: StripPoint, reach: Float) {
    guard let rows = span(min(a.y, b.y), max(a.y, b.y), reach: reach),
      let columns = span(min(a.x, b.x), max(a.x, b.x), reach: reach)
    else { return }
    let (dx, dy) = (b.x - a.x, b.y - a.y)
    let squared = dx * dx + dy * dy
    let inverse = squared > 0 ? 1 / squared : 0
    for y in rows {
      for x in columns {
        let (px, py) = (Float(x) - a.x, Float(y) - a.y)
        let along = min(max((px * dx + py * dy) * inverse, 0), 1)
        let (ex, ey) = (px - along * dx, py - along * dy)
        let i = y * size + x
        distance[i] = min(distance[i], (ex * ex + ey * ey).squareRoot())
      }
    }
    strokes = strokes.map { min($0.lowerBound, rows.lowerBound)...max($0.upperBound, rows.upperBound) } ?? rows
  }

  /// Adds `amplitude * coverage(distance)` where the current line was stroked, and starts a new line.
  func paintLine(amplitude: Float, coverage: (Float) -> Float) {
    guard let rows = strokes else { return }
    for i in (rows.lowerBound * size)..<((rows.upperBound + 1) * size) where distance[i] < .infinity {
      gray[i] += amplitude * coverage(distance[i])
      distance[i] = .infinity
    }
    strokes = nil
  }

  /// Adds `level(distance)` around an ellipse.
  ///
  /// The argument is nearly the distance from its edge in pixels, negative inside: exact for circles; for ellipses the
  /// radial distance is scaled by the smaller radius.
  func paintEllipse(
    center: StripPoint, radii: (Float, Float), turns: Float, reach: Float, level: (Float) -> Float
  ) {
    let largest = max(radii.0, radii.1)
    guard let rows = span(center.y, center.y, reach: largest + reach),
      let columns = span(center.x, center.x, reach: largest + reach)
    else { return }
    let cosine = Float(ExactMath.cosine(turns: Double(turns)))
    let sine = Float(ExactMath.sine(turns: Double(turns)))
    let smallest = min(radii.0, radii.1)
    for y in rows {
      for x in columns {
        let (px, py) = (Float(x) - center.x, Float(y) - center.y)
        let u = (px * cosine + py * sine) / radii.0
        let v = (py * cosine - px * sine) / radii.1
        gray[y * size + x] += level(((u * u + v * v).squareRoot() - 1) * smallest)
      }
    }
  }
}

/// How much of a pixel a shape covers, and soft edges.
enum Coverage {
  /// Share of a pixel covered by a line of a width whose center is `distance` pixels away, across the line.
  static func line(_ distance: Float, width: Float) -> Float {
    max(0, min(distance + width / 2, 0.5) - max(distance - width / 2, -0.5))
  }

  /// Share of a pixel covered by an area whose edge is `distance` pixels away, negative inside.
  static func area(_ distance: Float) -> Float { min(max(0.5 - distance, 0), 1) }

  /// exp(-t^2 / 2) for |t| <= 4, else 0: nearest of 1,025 tabulated values, each within 0.3 %.
  static func gaussian(_ t: Float) -> Float {
    let position = abs(t) * 256
    return position < 1_024.5 ? gaussianTable[Int(position + 0.5)] : 0
  }

  private static let gaussianTable: [Float] = (0...1_024).map {
    let t = Double($0) / 256
    return Float(ExactMath.exp(-t * t / 2))
  }
}
