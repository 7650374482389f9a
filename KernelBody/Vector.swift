// Sixteen floats at a time, how a pass over a buffer is cut into them, and how work is shared.
// This folder is compiled once per instruction set. Concrete types and forced inlining only: a generic function that
// is left as a call may be merged by the linker with another level's copy and fault on an older processor.

internal import KernelsInterface

/// The kernels of the instruction set that this module was compiled for.
package enum Body: KernelSet {}

typealias Floats = SIMD16<Float>
/// Compare these with vectors only: the comparisons with a scalar compile to a loop over lanes.
typealias Integers = SIMD16<Int32>

/// The share of part `part`: `count` elements in blocks of `alignment`, blocks dealt as evenly as they go.
@inline(__always)
func share(_ count: Int, alignment: Int = 1, part: Int, of parts: Int) -> Range<Int> {
  let blocks = (count + alignment - 1) / alignment
  let first = blocks * part / parts * alignment
  let last = blocks * (part + 1) / parts * alignment
  return min(first, count)..<min(last, count)
}

/// Calls body(index, lanes) for each sixteen of the range, last with the 1...15 that are left.
@inline(__always)
func forVectors(_ range: Range<Int>, _ body: (Int, Int) -> Void) {
  var index = range.lowerBound
  while index + 16 <= range.upperBound {
    body(index, 16)
    index += 16
  }
  if index < range.upperBound { body(index, range.upperBound - index) }
}

/// `forVectors` for larger bodies: give the same function twice, `whole` for all lanes and `tail` for the rest.
///
/// A body that stands in one place twice is left by the compiler as a function that is called for every vector.
@inline(__always)
func forVectors(_ range: Range<Int>, whole: (Int) -> Void, tail: (Int, Int) -> Void) {
  var index = range.lowerBound
  while index + 16 <= range.upperBound {
    whole(index)
    index += 16
  }
  if index < range.upperBound { tail(index, range.upperBound - index) }
}

/// `forVectors` over this part's share of [count] elements, cut at multiples of 64 (cache lines of any element size).
@inline(__always)
func forVectors(count: Int, part: Int, of parts: Int, _ body: (Int, Int) -> Void) {
  forVectors(share(count, alignment: 64, part: part, of: parts), body)
}

/// Loads `lanes` floats, the rest zero.
///
/// With a constant 16 this is one unaligned load.
@inline(__always)
func load(_ pointer: UnsafePointer<Float>, _ lanes: Int = 16) -> Floats {
  if lanes >= 16 { return UnsafeRawPointer(pointer).loadUnaligned(as: Floats.self) }
  var vector = Floats.zero
  for lane in 0..<lanes { vector[lane] = pointer[lane] }
  return vector
}

@inline(__always)
func load(_ pointer: UnsafeMutablePointer<Float>, _ lanes: Int = 16) -> Floats {
  load(UnsafePointer(pointer), lanes)
}

/// Stores the first `lanes` floats.
@inline(__always)
func store(_ vector: Floats, _ pointer: UnsafeMutablePointer<Float>, _ lanes: Int = 16) {
  if lanes >= 16 {
    UnsafeMutableRawPointer(pointer).storeBytes(of: vector, as: Floats.self)
  } else {
    for lane in 0..<lanes { pointer[lane] = vector[lane] }
  }
}

@inline(__always)
func load(_ pointer: UnsafePointer<Int8>, _ lanes: Int) -> SIMD16<Int8> {
  if lanes >= 16 { return UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<Int8>.self) }
  var vector = SIMD16<Int8>.zero
  for lane in 0..<lanes { vector[lane] = pointer[lane] }
  return vector
}

@inline(__always)
func load(_ pointer: UnsafePointer<Int16>, _ lanes: Int) -> SIMD16<Int16> {
  if lanes >= 16 { return UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<Int16>.self) }
  var vector = SIMD16<Int16>.zero
  for lane in 0..<lanes { vector[lane] = pointer[lane] }
  return vector
}

@inline(__always)
func store(_ vector: SIMD16<Int16>, _ pointer: UnsafeMutablePointer<Int16>, _ lanes: Int) {
  if lanes >= 16 {
    UnsafeMutableRawPointer(pointer).storeBytes(of: vector, as: SIMD16<Int16>.self)
  } else {
    for lane in 0..<lanes { pointer[lane] = vector[lane] }
  }
}

@inline(__always)
func store(_ vector: SIMD16<Int8>, _ pointer: UnsafeMutablePointer<Int8>, _ lanes: Int) {
  if lanes >= 16 {
    UnsafeMutableRawPointer(pointer).storeBytes(of: vector, as: SIMD16<Int8>.self)
  } else {
    for lane in 0..<lanes { pointer[lane] = vector[lane] }
  }
}

@inline(__always)
func load(_ pointer: UnsafePointer<UInt8>, _ lanes: Int) -> SIMD16<UInt8> {
  if lanes >= 16 { return UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<UInt8>.self) }
  var vector = SIMD16<UInt8>.zero
  for lane in 0..<lanes { vector[lane] = pointer[lane] }
  return vector
}

@inline(__always)
func store(_ vector: SIMD16<UInt8>, _ pointer: UnsafeMutablePointer<UInt8>, _ lanes: Int) {
  if lanes >= 16 {
    UnsafeMutableRawPointer(pointer).storeBytes(of: vector, as: SIMD16<UInt8>.self)
  } else {
    for lane in 0..<lanes { pointer[lane] = vector[lane] }
  }
}

/// a * b + c, fused.
@inline(__always)
func fma(_ a: Floats, _ b: Floats, _ c: Floats) -> Floats { c.addingProduct(a, b) }

/// max(0, x); NaN stays.
@inline(__always)
func positivePart(_ x: Floats) -> Floats { x.replacing(with: 0, where: x .< 0) }

/// Floats to integers, rounded to nearest even, for |x| < 2^22: adding 1.5 * 2^23 leaves the integer in the low bits.
/// (Converting through `SIMD16<Int32>(_:)` compiles to scalar code, 100 times slower.)
@inline(__always)
func rounded(_ x: Floats) -> Integers {
  unsafeBitCast(x + roundingMagic, to: Integers.self) &- Int32(bitPattern: roundingMagic.bitPattern)
}

/// Integers to floats, exact for |x| < 2^22; the inverse of `rounded`.
@inline(__always)
func floats(_ x: Integers) -> Floats {
  unsafeBitCast(x &+ Int32(bitPattern: roundingMagic.bitPattern), to: Floats.self) - roundingMagic
}

let roundingMagic: Float = 12_582_912  // 1.5 * 2^23
