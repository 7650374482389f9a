// Float16 storage, by vcvtps2ph and vcvtph2ps.

internal import CIntrinsics

@inline(__always)
private func loadHalf(_ pointer: UnsafePointer<Float16>, _ lanes: Int) -> Floats {
  if lanes >= 16 { return temper_load_half(pointer) }
  var halves: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
  return withUnsafeMutableBytes(of: &halves) { bytes in
    bytes.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: 2 * lanes))
    return temper_load_half(bytes.baseAddress!)
  }
}

@inline(__always)
private func storeHalf(_ vector: Floats, _ pointer: UnsafeMutablePointer<Float16>, _ lanes: Int) {
  if lanes >= 16 { return temper_store_half(pointer, vector) }
  var halves: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
  withUnsafeMutableBytes(of: &halves) { bytes in
    temper_store_half(bytes.baseAddress!, vector)
    UnsafeMutableRawPointer(pointer).copyMemory(from: bytes.baseAddress!, byteCount: 2 * lanes)
  }
}

/// Rounds through half and back.
@inline(__always)
func roundedToHalf(_ vector: Floats) -> Floats {
  var halves: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
  return withUnsafeMutableBytes(of: &halves) { bytes in
    temper_store_half(bytes.baseAddress!, vector)
    return temper_load_half(bytes.baseAddress!)
  }
}

extension Body {
  package static func convertToHalf(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float16>, saturating: Bool, part: Int,
    of parts: Int
  ) {
    guard saturating else {
      return forVectors(count: count, part: part, of: parts) { i, lanes in
        storeHalf(load(input + i, lanes), output + i, lanes)
      }
    }
    let largest = Floats(repeating: 65_504)
    forVectors(count: count, part: part, of: parts) { i, lanes in
      let x = load(input + i, lanes)
      let bounded = x.replacing(with: largest, where: x .> largest)
      storeHalf(bounded.replacing(with: -largest, where: bounded .< -largest), output + i, lanes)
    }
  }

  package static func convertToFloat(
    _ input: UnsafePointer<Float16>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(loadHalf(input + i, lanes), output + i, lanes)
    }
  }

  package static func roundToHalf(
    _ input: UnsafePointer<Float>, count: Int, output: UnsafeMutablePointer<Float>, part: Int, of parts: Int
  ) {
    forVectors(count: count, part: part, of: parts) { i, lanes in
      store(roundedToHalf(load(input + i, lanes)), output + i, lanes)
    }
  }
}
