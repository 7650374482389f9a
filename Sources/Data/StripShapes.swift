// What lies on the strip: hard negatives (stains, highlights), which every class may show, and the four defects.
// Levels are in gray levels added to the background, lengths in pixels, angles in turns; the rolling direction is y.

enum StripShapes {
  private typealias Path = [StripPoint]

  /// An oil or water stain: a dark, soft ellipse.
  static func stain(on canvas: StripCanvas, random: inout RandomSequence) {
    let center = anywhere(on: canvas, random: &random)
    let radii = (random.uniform(8...24) / 2, random.uniform(8...24) / 2)
    let level = -random.uniform(6...16)
    let smallest = min(radii.0, radii.1)
    canvas.paintEllipse(
      center: center, radii: radii, turns: random.uniform(0...0.5), reach: 1.5 * max(radii.0, radii.1)
    ) { distance in
      // The ellipse's edge lies at 1.25 deviations.
      level * Coverage.gaussian((distance / smallest + 1) * 1.25)
    }
  }

  /// A specular highlight: as tortuous as a crack, but bright and soft, in any direction, cut by the border or not.
  static func highlight(on canvas: StripCanvas, amplitude: ClosedRange<Float>, random: inout RandomSequence) {
    let path = walk(length: random.uniform(12...40), heading: random.uniform(0...1), random: &random)
    let center = anywhere(on: canvas, random: &random)
    let deviation = random.uniform(0.8...2.2) / 2 + 0.4
    stroke([moved(path, to: center)], on: canvas, reach: 3.5 * deviation)
    canvas.paintLine(amplitude: random.uniform(amplitude)) { Coverage.gaussian($0 / deviation) }
  }

  /// A scratch: straight, nearly along the rolling direction, bright with a dark shadow on one side.
  static func scratch(on canvas: StripCanvas, random: inout RandomSequence) {
    let heading = 0.25 + random.uniform(-1 / 30...1 / 30)
    let length = min(random.uniform(18...50), Float(canvas.size) - 6)
    let direction = vector(heading)
    let path = [
      StripPoint(x: 0, y: 0), StripPoint(x: direction.x * length, y: direction.y * length),
    ]
    let width = random.uniform(0.7...1.6)
    let placed = inside([path], canvas, margin: 3, random: &random)
    let side: Float = random.chance(0.5) ? 1 : -1
    let offset = side * (width / 2 + 0.7)
    let shadow = placed.map { path in
      path.map { StripPoint(x: $0.x - direction.y * offset, y: $0.y + direction.x * offset) }
    }
    stroke(shadow, on: canvas, reach: 2)
    canvas.paintLine(amplitude: -8) { Coverage.line($0, width: 1.4) }
    stroke(placed, on: canvas, reach: width / 2 + 0.5)
    canvas.paintLine(amplitude: random.uniform(18...40)) { Coverage.line($0, width: width) }
  }

  /// A crack: dark, tortuous, with up to two side branches.
  static func crack(on canvas: StripCanvas, random: inout RandomSequence) {
    let length = random.uniform(14...40)
    let heading = random.uniform(0...1)
    let trunk = walk(length: length, heading: heading, random: &random)
    var paths = [trunk]
    for _ in 0..<random.integer(0...2) {
      let start = trunk[random.integer(0...(trunk.count - 1))]
      let side: Float = random.chance(0.5) ? 1 : -1
      let branch = walk(
        length: length * random.uniform(0.2...0.45), heading: heading + side * random.uniform(0.08...0.2),
        random: &random)
      paths.append(branch.map { StripPoint(x: $0.x + start.x, y: $0.y + start.y) })
    }
    let width = random.uniform(0.8...1.8)
    stroke(inside(paths, canvas, margin: 2, random: &random), on: canvas, reach: width / 2 + 0.5)
    canvas.paintLine(amplitude: -random.uniform(18...42)) { Coverage.line($0, width: width) }
  }

  /// An embedded particle: tiny, far brighter than anything else on the strip, with a dark ring.
  static func particle(on canvas: StripCanvas, random: inout RandomSequence) {
    let center = inside(canvas, margin: 5, random: &random)
    let core = random.uniform(110...170)
    canvas.paintEllipse(
      center: center, radii: (random.uniform(1...2.6), random.uniform(1...2.6)), turns: random.uniform(0...0.5),
      reach: 4
    ) { distance in
      let inner = Coverage.area(distance)
      return core * inner - 20 * (Coverage.area(distance - 1.2) - inner)
    }
  }

  /// A cluster of three to seven pits: small dark discs with a faint bright rim.
  static func pits(on canvas: StripCanvas, random: inout RandomSequence) {
    let center = inside(canvas, margin: 12, random: &random)
    for _ in 0..<random.integer(3...7) {
      let spot = StripPoint(x: center.x + 4 * random.normal(), y: center.y + 4 * random.normal())
      let radius = random.uniform(0.9...2.2)
      let depth = random.uniform(15...35)
      canvas.paintEllipse(center: spot, radii: (radius, radius), turns: 0, reach: 3) { distance in
        let inner = Coverage.area(distance)
        return 6 * (Coverage.area(distance - 0.8) - inner) - depth * inner
      }
    }
  }

  // MARK: Paths

  /// A random walk from the origin in steps of 1.5 pixels whose heading changes by 0.55 rad (deviation) per step.
  private static func walk(length: Float, heading: Float, random: inout RandomSequence) -> Path {
    let radiansPerTurn: Float = 6.2831855
    var heading = heading
    var point = StripPoint(x: 0, y: 0)
    var path = [point]
    for _ in 0..<max(2, Int(length / 1.5)) {
      heading += 0.55 / radiansPerTurn * random.normal()
      let direction = vector(heading)
      point = StripPoint(x: point.x + 1.5 * direction.x, y: point.y + 1.5 * direction.y)
      path.append(point)
    }
    return path
  }

  private static func vector(_ turns: Float) -> StripPoint {
    StripPoint(x: Float(ExactMath.cosine(turns: Double(turns))), y: Float(ExactMath.sine(turns: Double(turns))))
  }

  private static func stroke(_ paths: [Path], on canvas: StripCanvas, reach: Float) {
    for path in paths {
      for (a, b) in zip(path, path.dropFirst()) { canvas.stroke(from: a, to: b, reach: reach) }
    }
  }

  private static func anywhere(on canvas: StripCanvas, random: inout RandomSequence) -> StripPoint {
    let edge = Float(canvas.size - 1)
    return StripPoint(x: random.uniform(0...edge), y: random.uniform(0...edge))
  }

  private static func inside(_ canvas: StripCanvas, margin: Float, random: inout RandomSequence) -> StripPoint {
    let range = margin...(Float(canvas.size - 1) - margin)
    return StripPoint(x: random.uniform(range), y: random.uniform(range))
  }

  /// Moves a path so that the middle of its bounding box is at a point.
  private static func moved(_ path: Path, to center: StripPoint) -> Path {
    let (x, y) = (extent(path.map(\.x)), extent(path.map(\.y)))
    let dx = center.x - (x.lowerBound + x.upperBound) / 2
    let dy = center.y - (y.lowerBound + y.upperBound) / 2
    return path.map { StripPoint(x: $0.x + dx, y: $0.y + dy) }
  }

  /// Moves paths together to a random place where their bounding box is inside; centers what does not fit.
  private static func inside(
    _ paths: [Path], _ canvas: StripCanvas, margin: Float, random: inout RandomSequence
  ) -> [Path] {
    let points = paths.flatMap { $0 }
    let edge = Float(canvas.size - 1)
    func shift(_ values: [Float]) -> Float {
      let range = extent(values)
      let (low, high) = (margin - range.lowerBound, edge - margin - range.upperBound)
      return low <= high ? random.uniform(low...high) : (low + high) / 2
    }
    let dx = shift(points.map(\.x))
    let dy = shift(points.map(\.y))
    return paths.map { $0.map { StripPoint(x: $0.x + dx, y: $0.y + dy) } }
  }

  private static func extent(_ values: [Float]) -> ClosedRange<Float> {
    (values.min() ?? 0)...(values.max() ?? 0)
  }
}
