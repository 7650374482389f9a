// Float16 storage. `SIMD16<Float16>(_:)` and back compile to vcvtps2ph and vcvtph2ps.

@inline(__always)
private func loadHalf(_ pointer: UnsafePointer<Float16>, _ lanes: Int) -> SIMD16<Float16> {
  if lanes >= 16 { return UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<Float16>.self) }
  var vector = SIMD16<Float16>.zero
  for lane in 0..<lanes { vector[lane] = pointer[lane] }
  return vector
}

@inline(__always)
private func storeHalf(_ vector: SIMD16<Float16>, _ pointer: UnsafeMutablePointer<Float16>, _ lanes: Int) {
  if lanes >= 16 {
    UnsafeMutableRawPointer(pointer).storeBytes(of: vector, as: SIMD16<Float16>.self)
  } else {
    for lane in 0..<lanes { pointer[lane] = vector[lane] }
  }
}

extension Body {
  package static func convertToHalf(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float16>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      storeHalf(SIMD16<Float16>(load(input + i, lanes)), output + i, lanes)
    }
  }

  package static func convertToFloat(
    _ input: UnsafePointer<Float16>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(Floats(loadHalf(input + i, lanes)), output + i, lanes)
    }
  }

  package static func roundToHalf(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(Floats(SIMD16<Float16>(load(input + i, lanes))), output + i, lanes)
    }
  }
}
